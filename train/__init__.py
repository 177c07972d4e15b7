"""Behavioural cloning: one configuration, one loop, one jitted step over a device mesh."""
