"""What a game is: observation, actions, codec, environment. One registry entry a game."""
