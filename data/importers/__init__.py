"""Recorded games to a store, one module a source."""
