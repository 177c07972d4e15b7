"""Samplers, which map (seed, step) to slices of episodes, and the batches and data sources built on them."""
