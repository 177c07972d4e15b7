"""Benchmarks of evaluation: NetHack, and Atari games."""
