"""Steps of a game to compressed records and back: the hot kernels."""
