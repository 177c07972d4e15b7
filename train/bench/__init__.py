"""Training speed of our agents beside that of the same networks in plain PyTorch: `python -m train bench`."""
