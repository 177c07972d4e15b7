"""Games: observation, actions, codec and environment of each. One registry module per game family."""
