"""A line of a benchmark that compares this program with another."""

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
