"""A line of a benchmark that compares this program with another."""

import dataclasses
import json
from collections.abc import Iterable
from dataclasses import dataclass

HEADER = f"{'what (compared with)':44} {'ours':>12} {'theirs':>12} {'unit':14} {'ratio':>8} goal"


@dataclass(frozen=True)
class Line:
    """One comparison: what is measured, our value and theirs in `unit`, and the ratio to reach."""

    name: str
    ours: float
    theirs: float
    unit: str
    goal: str

    def __str__(self) -> str:
        ratio = self.ours / self.theirs
        return f"{self.name:44} {self.ours:>12,.4g} {self.theirs:>12,.4g} {self.unit:14} {ratio:>8.3g} {self.goal}"


def report(lines: Iterable[Line], *, as_json: bool = False) -> None:
    """Print lines as they come, or all of them as one JSON object."""
    if as_json:
        print(json.dumps({line.name: dataclasses.asdict(line) | {"ratio": line.ours / line.theirs} for line in lines}))
        return
    for number, line in enumerate(lines):
        print(line if number else f"{HEADER}\n{line}", flush=True)
