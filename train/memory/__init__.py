"""The memory of a training step: what the compiled step needs, and the settings with which it fits the device."""
