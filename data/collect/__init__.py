"""Collection of expert games, one module per game family."""
