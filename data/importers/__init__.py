"""Importers: recorded games to a store; one module per source."""
