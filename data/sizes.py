"""How large what is seen is."""

ROWS, COLUMNS = 24, 80
"""Of the NetHack terminal."""

FRAME_ROWS, FRAME_COLUMNS, STACK = 84, 84, 4
"""Of an Atari frame; and how many frames an observation has."""
