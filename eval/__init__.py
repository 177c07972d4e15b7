"""Evaluation of checkpoints: loss on held-out episodes and returns in the real game."""
