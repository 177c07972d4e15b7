"""Scaling laws from result rows: isoFLOP profiles, power laws, figures and the report."""
