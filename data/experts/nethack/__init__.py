"""The scripted NetHack expert: reads the terminal, maps the level and plans paths."""
