"""A progress bar for games, and where their time goes."""

import time
from dataclasses import dataclass

from data.common.progress import Bar


class Progress:
    """Progress on stderr: finished games, steps per second and remaining time."""

    def __init__(self, games: int, shown: bool) -> None:
        self._bar = Bar(name="play", total=games, unit="game", rate=False, shown=shown, miniters=0, mininterval=0.5)
        self._steps = 0
        self._start = time.perf_counter()

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.close()

    def add(self, steps: int, games: int) -> None:
        """Add environment steps and finished games to the counts."""
        self._steps += steps
        rate = self._steps / (time.perf_counter() - self._start)
        self._bar.set_postfix_str(f"{rate:,.0f} steps/s", refresh=False)
        self._bar.update(games)


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
