"""Where the time of a rollout goes."""

from dataclasses import dataclass


@dataclass
class Shares:
    """Seconds, and steps."""

    wall: float = 0.0
    stepping: float = 0.0
    """Stepping and starting games, per worker."""
    inference: float = 0.0
    """Computing actions: per worker, or waited for by the process that has the device."""
    idle: float = 0.0
    """That process waits for games."""
    steps: int = 0

    @property
    def rest(self) -> float:
        """Starting processes, compiling, loading parameters and moving data; with a device of its own for the policy,
        all that its process does but wait."""
        busy = self.inference + (self.idle or self.stepping)
        return max(0.0, self.wall - busy)

    def __str__(self) -> str:
        wall = self.wall or 1.0
        parts = {"games": self.stepping, "policy": self.inference, "waiting for games": self.idle, "rest": self.rest}
        shares = ", ".join(f"{name} {seconds / wall:.0%}" for name, seconds in parts.items() if seconds)
        return f"{self.steps:,} steps at {self.steps / wall:,.0f} a second: {shares} of the time"
