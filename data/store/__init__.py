"""The trajectory store: episodes on disk; written, read, filtered, mixed and verified."""
