"""Diagnostics: why a row was left out or a fit may not be trusted, by code."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Code = Literal[
    "incomplete_row",
    "duplicate_row",
    "unreadable_value",
    "derived",
    "own_runs",
    "no_loss",
    "binned",
    "no_budgets",
    "tuned",
    "undercooked",
    "unfinished_schedule",
    "mixed_convention",
    "mixed_protocol",
    "few_sizes",
    "opens_downwards",
    "vertex_outside",
    "edge_optimum",
    "no_return",
    "nonpositive_return",
    "few_budgets",
    "no_interval",
    "unfittable",
    "flat_profile",
    "few_decades",
    "best_of_noisy",
    "one_run",
    "disagreement",
    "inseparable",
    "stuck",
    "on_bound",
    "misfit",
]
Severity = Literal["info", "warning"]
GRAVE: tuple[Code, ...] = (
    *("mixed_convention", "no_budgets", "no_interval", "misfit", "unfinished_schedule", "undercooked"),
    *("edge_optimum", "disagreement", "few_decades", "inseparable", "on_bound", "one_run", "vertex_outside"),
)
"""Warnings that are told first."""


@dataclass(frozen=True)
class Diagnostic:
    """One reason not to trust a fit, or one thing that was left out of it."""

    code: Code
    severity: Severity
    """`warning`: something was left out or a law may not be trusted; `info`: worth knowing."""
    game: str | None
    flops: float | None
    """The budget concerned, in FLOPs; None for the whole game."""
    message: str
    """In words, with the remedy."""


@dataclass(frozen=True)
class Group:
    """Diagnostics of one code and game, which are told once."""

    code: Code
    severity: Severity
    budgets: tuple[float, ...]
    """The budgets concerned, in FLOPs."""
    messages: tuple[str, ...]
    """The different messages."""

    @property
    def summary(self) -> str:
        """One line: the first message, and how many budgets it is about."""
        others = len(self.messages) - 1
        at = ""
        if self.budgets:
            ends = " to ".join(f"{flops:.3g}" for flops in dict.fromkeys((min(self.budgets), max(self.budgets))))
            at = f"{len(self.budgets)} budgets, {ends} FLOPs: " if len(self.budgets) > 1 else f"{ends} FLOPs: "
        return f"{at}{self.messages[0]}" + (f" ({others} more of the kind)" if others and not self.budgets else "")


def grouped(diagnostics: Sequence[Diagnostic]) -> list[Group]:
    """`diagnostics` of one game by code: warnings first, by `GRAVE`, otherwise in their order."""
    by_code: dict[tuple[str, Code], list[Diagnostic]] = defaultdict(list)
    for item in diagnostics:
        by_code[item.severity, item.code].append(item)
    groups = [
        Group(
            items[0].code,
            items[0].severity,
            tuple(dict.fromkeys(item.flops for item in items if item.flops is not None)),
            tuple(dict.fromkeys(item.message for item in items)),
        )
        for items in by_code.values()
    ]
    return sorted(groups, key=_weight)


def _weight(group: Group) -> tuple[bool, int]:
    return group.severity != "warning", GRAVE.index(group.code) if group.code in GRAVE else len(GRAVE)
