"""Sequence cores: one interface for a whole window with resets or for one step of play."""
