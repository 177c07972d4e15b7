"""Agents for NetHack: encoders of the terminal, a sequence core, heads."""
