"""Figures of the laws, one module each."""
