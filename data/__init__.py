"""Expert play: recordings, the store they are kept in, and the batches read from it."""
