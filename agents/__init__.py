"""Policy networks as pure functions, with their parameters and FLOPs counted from the configuration."""
