"""Populations: many runs trained in one compiled step on one stream of data."""
