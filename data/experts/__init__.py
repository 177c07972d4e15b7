"""Who plays the games that agents imitate."""
