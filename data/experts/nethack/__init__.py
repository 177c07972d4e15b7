"""The scripted NetHack player: it reads the terminal, maps the level, and finds paths."""
