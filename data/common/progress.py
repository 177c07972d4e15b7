"""Progress of whatever takes more than seconds: a bar on a terminal, in a log plain lines that are a minute apart.

Also counts with their nouns, as it and other messages have them.
"""

import sys
import time
from collections.abc import Iterable, Sized
from typing import Any

from tqdm import tqdm

EVERY = 60.0
"""Seconds between lines in a log."""
BRIEF = 2.0
"""Seconds up to which nothing is shown of what is done iteratively."""


class Bar(tqdm):
    """A progress bar on stderr.

    Args:
        of: What to iterate over; None to count by `update`.
        name: What is being done.
        total: How many there will be; None: as many as `of` has.
        unit: Of what, in the singular.
        rate: Whether to show how many a second; without, there is room for what `set_postfix_str` says.
        shown: Whether to show anything.
        **options: Of tqdm.
    """

    def __init__(
        self,
        of: Iterable[Any] | None = None,
        name: str = "",
        total: float | None = None,
        *,
        unit: str,
        rate: bool = True,
        shown: bool = True,
        **options: Any,
    ) -> None:
        self._plain = not sys.stderr.isatty()
        self._told, self._lines = time.monotonic(), 0
        if self._plain:
            options |= {"mininterval": 1.0, "miniters": 1, "delay": 0}
        if not rate:
            options["bar_format"] = "{desc}: {bar}| {n_fmt}/{total_fmt} [{elapsed}<{remaining}{postfix}]"
        elif total is None and not isinstance(of, Sized):
            options["bar_format"] = f"{{desc}}: {{n_fmt}} {plural(unit)} [{{elapsed}}, {{rate_fmt}}{{postfix}}]"
        super().__init__(
            of, name, total, unit=unit, disable=not shown, file=sys.stderr, dynamic_ncols=not self._plain, **options
        )

    # tqdm's own returns a bool, by which `close` knows whether to return the cursor; its stub says None.
    def display(self, msg: str | None = None, pos: int | None = None) -> Any:
        """Draw the bar, or write a line if one is due. Returns whether there is a bar."""
        if not self._plain:
            return super().display(msg, pos)
        if time.monotonic() - self._told >= EVERY:
            self._told = time.monotonic()
            self._lines += 1
            self._write(self._said())
        return False

    def close(self) -> None:
        """Leave the bar on the terminal; where lines were written, write how many there were and how long it took."""
        if self._plain and not self.disable:
            if self._lines:
                facts = self.format_dict
                self._write(f"{self._count(facts['n'])} in {tqdm.format_interval(facts['elapsed'])}")
            self.sp = None
        super().close()

    def _said(self) -> str:
        facts = self.format_dict
        elapsed, count, total = facts["elapsed"], facts["n"] - facts["initial"], facts["total"]
        words = [self._count(facts["n"], total), tqdm.format_interval(elapsed)]
        if total and count > 0:
            words.append(f"{tqdm.format_interval(elapsed * (total - facts['n']) / count)} left")
        if facts["postfix"]:
            words.append(facts["postfix"])
        return ", ".join(words)

    def _count(self, count: float, total: float | None = None) -> str:
        scale = tqdm.format_sizeof if self.unit_scale else "{:,}".format
        of = f" of {scale(total)}" if total else ""
        return f"{scale(count)}{of} {self.unit if count == 1 and not total else plural(self.unit)}"

    def _write(self, said: str) -> None:
        name = str(self.desc).removesuffix(": ")
        print(f"{name}: {said}" if name else said, file=sys.stderr, flush=True)


def plural(noun: str) -> str:
    """Games, studies."""
    return f"{noun[:-1]}ies" if noun.endswith("y") else f"{noun}s"


def count(number: int, noun: str) -> str:
    """1,200 games, 1 game."""
    return f"{number:,} {noun if number == 1 else plural(noun)}"
