"""Which steps go into which batch, as a function of (seed, step), and batches of them."""
