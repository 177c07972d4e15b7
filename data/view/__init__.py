"""Viewing a store: a summary as text, and the playback of its games."""
