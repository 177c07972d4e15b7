"""Tuned settings: of a size that was trained with several at one budget, the runs of the best are kept."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from eval.results import ResultRow
from laws.rows.diagnostic import Diagnostic

TUNED = ("lr", "batch", "schedule", "lr_rule")
"""Settings of training that don't change the network or its data."""
FEW_STEPS = 1000
"""Optimiser steps below which a loss says more of the warmup than of the budget."""
_DECAYS = ("cosine", "linear decay", "linear_decay")


@dataclass(frozen=True)
class Tuned:
    """The rows of one budget that are compared, and which settings were compared to choose them."""

    rows: list[ResultRow]
    sizes: int
    """Sizes that were trained with several settings."""
    settings: frozenset[str]


def best_tuned(rows: Sequence[ResultRow]) -> Tuned:
    """Of each size among the `rows` of a budget, those of the setting with the least mean loss; ties by its value."""
    by_size: dict[int, dict[tuple[object, ...], list[ResultRow]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        by_size[row.params][tuple(getattr(row, name) for name in TUNED)].append(row)
    kept: list[ResultRow] = []
    differ: set[str] = set()
    tried = 0
    for settings in by_size.values():
        best = min(settings, key=lambda key: (float(np.mean([row.loss or 0.0 for row in settings[key]])), str(key)))
        kept += settings[best]
        if len(settings) > 1:
            tried += 1
            differ |= {name for place, name in enumerate(TUNED) if len({key[place] for key in settings}) > 1}
    return Tuned(kept, tried, frozenset(differ))


def check_training(game: str, rows: Sequence[ResultRow]) -> list[Diagnostic]:
    """`undercooked` cells of few optimiser steps, and `unfinished_schedule`: measured before the decay had ended."""
    diagnostics: list[Diagnostic] = []
    short = [row for row in rows if row.batch and row.samples / row.batch < FEW_STEPS]
    if short:
        message = (
            f"{len(short)} of {len(rows)} cells have fewer than {FEW_STEPS:,} optimiser steps: their losses are too"
            " high for their compute; train them with smaller batches, or fit larger budgets."
        )
        diagnostics.append(Diagnostic("undercooked", "warning", game, None, message))
    last: dict[str, float] = defaultdict(float)
    for row in rows:
        last[row.run] = max(last[row.run], row.flops)
    early = [row for row in rows if _decays(row.schedule) and row.flops < last[row.run] * 0.95]
    if early:
        message = (
            f"{len(early)} of {len(rows)} cells were measured before their learning rate schedule"
            f" ({early[0].schedule}) had ended: their losses are too high; train each budget by itself, or at a"
            " constant rate."
        )
        diagnostics.append(Diagnostic("unfinished_schedule", "warning", game, None, message))
    return diagnostics


def _decays(schedule: str | None) -> bool:
    return schedule is not None and any(word in schedule.casefold() for word in _DECAYS)
