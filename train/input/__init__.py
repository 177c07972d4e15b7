"""Batches on their way to the devices."""
