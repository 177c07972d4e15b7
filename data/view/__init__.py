"""A store to look at: its contents as text, its games as films."""
