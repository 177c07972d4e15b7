"""A progress bar for games."""

import sys
import time

from tqdm import tqdm


class Progress:
    """Progress bar on stderr: finished games, steps per second and remaining time."""

    def __init__(self, games: int, shown: bool) -> None:
        # Without a terminal, print one line every ten seconds.
        interval = 0.5 if sys.stderr.isatty() else 10.0
        self._bar = tqdm(total=games, unit="game", miniters=0, mininterval=interval, disable=not shown)
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
        self._bar.set_postfix_str(f"{rate:.0f} steps/s", refresh=False)
        self._bar.update(games)
