"""Agents for Atari: convolutional networks over four stacked frames."""
