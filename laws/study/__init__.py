"""A whole study in one command."""
