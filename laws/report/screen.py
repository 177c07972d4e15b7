"""What `python -m laws fit` prints: the laws, then what makes them doubtful."""

from collections.abc import Iterator

from laws.fitting.analysis import Fit
from laws.fitting.law import Law
from laws.rows.diagnostic import Diagnostic, grouped

MOST_LINES = 3
"""Most lines on what makes a game's laws doubtful; the report has all."""
TOLD = frozenset({"binned", "derived", "own_runs", "tuned"})
"""Notes on how the table was read, which are always told."""


def fit_lines(found: Fit) -> Iterator[str]:
    """The laws of every game, notes on how its rows were read, and its most frequent warnings."""
    yield from (f"note: {item.message}" for item in found.diagnostics if item.game is None)
    for game in found.games:
        for law in game.laws:
            offset = "" if law.form == "power" else f"{law.power.offset:.4g} + "
            yield f"{game.game}  {law.y} ~ {offset}C^{law.exponent:+.3f}  ({law.method}, {_interval(law)})"
        if game.parametric is not None:
            values, intervals = game.parametric.values, game.parametric.intervals
            for name in ("params", "samples"):
                yield f"{game.game}  {name} ~ C^{values[name]:+.3f}  (parametric, {within(intervals[name])})"
        yield from _doubts([item for item in found.diagnostics if item.game == game.game])


def within(ends: tuple[float, float] | None) -> str:
    """A 95 % interval of an exponent, or that there is none."""
    return "no interval" if ends is None else f"95 % {ends[0]:+.3f} to {ends[1]:+.3f}"


def _interval(law: Law) -> str:
    jumps = ", jumps between the sizes trained" if law.discrete and law.exponent_ci else ""
    return f"{within(law.exponent_ci)}{jumps}"


def _doubts(diagnostics: list[Diagnostic]) -> Iterator[str]:
    yield from (f"note: {item.message}" for item in diagnostics if item.code in TOLD)
    groups = [group for group in grouped(diagnostics) if group.severity == "warning"]
    shown = groups if len(groups) <= MOST_LINES else groups[: MOST_LINES - 1]
    for group in shown:
        yield f"warning: {group.summary}"
    if len(shown) < len(groups):
        others = ", ".join(group.code for group in groups[len(shown) :])
        yield f"warning: {len(groups) - len(shown)} more in the report: {others}"
