"""Experts by reinforcement learning: PPO."""
