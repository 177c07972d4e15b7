"""The dev loss: of a checkpoint's parameters (`eval`), and of a run while it trains."""
