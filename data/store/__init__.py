"""TrajectoryStore: episodes on disk, written and read, filtered, mixed and verified."""
