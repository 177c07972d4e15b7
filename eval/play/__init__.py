"""Games played for evaluation, many at once."""
