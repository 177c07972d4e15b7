"""Parallel game play for evaluation."""
