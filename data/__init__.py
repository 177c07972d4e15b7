"""Expert games: played, imported, stored, and read as batches."""
