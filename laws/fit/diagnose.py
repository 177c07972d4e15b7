"""What makes a fit untrustworthy, by code."""

from dataclasses import dataclass
from typing import Literal

Code = Literal[
    "incomplete_row",
    "duplicate_row",
    "no_loss",
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
    "intervals_differ",
    "inseparable",
    "stuck",
    "on_bound",
    "misfit",
]
Severity = Literal["info", "warning"]


@dataclass(frozen=True)
class Diagnostic:
    """One reason to trust a fit less, or one thing that was left out of it."""

    code: Code
    severity: Severity
    """`warning`: something was left out or a law is in doubt; `info`: worth knowing."""
    game: str | None
    flops: float | None
    """The budget in question, in FLOPs; None where the whole game is meant."""
    message: str
    """In words, with what to do about it."""
