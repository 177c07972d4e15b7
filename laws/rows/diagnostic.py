"""Diagnostics: why a row was left out or a fit may not be trusted, by code."""

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
    """One reason not to trust a fit, or one thing that was left out of it."""

    code: Code
    severity: Severity
    """`warning`: something was left out or a law may not be trusted; `info`: worth knowing."""
    game: str | None
    flops: float | None
    """The budget concerned, in FLOPs; None for the whole game."""
    message: str
    """In words, with the remedy."""
