"""Trained policies as players: files of several trainers to NumPy weights."""
