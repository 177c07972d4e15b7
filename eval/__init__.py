"""What a checkpoint is worth: held-out loss and returns in the real game."""
