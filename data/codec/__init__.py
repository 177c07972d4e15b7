"""Steps of an episode to compressed records and back: one codec for each kind of observation."""
