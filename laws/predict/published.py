"""The laws of the paper's published measurements, drawn and listed for comparison.

Source: the per-cell measurements that accompany Tuyls et al., *Scaling Laws for Imitation Learning in
Single-Agent Games* (arXiv 2307.09423), in the folder `experiment_data` of the paper's public code.
`LAWS` are what this package's `envelope` fit gives on them, over every published budget. For NetHack they agree with
the 0.61 (N) and 0.39 (D) that the paper is quoted with. The return is the greatest mean return of each budget.
"""

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from laws.fitting.isoflop import Quantity

PAPER = "Tuyls et al., arXiv 2307.09423"

NETHACK_BUDGETS, ATARI_BUDGETS = (1e14, 1e19), (1e13, 1e18)
"""Smallest and largest budget of the paper, FLOPs: 22 budgets for NetHack, 16 for each Atari game."""


class Line(NamedTuple):
    """A power law over the paper's budgets."""

    exponent: float
    """To three decimals."""
    level: float
    """Value at the geometric middle of the budgets, to four digits."""
    budgets: tuple[float, float]

    def predict(self, flops: np.ndarray) -> np.ndarray:
        """y at C = `flops`."""
        return self.level * (flops / math.sqrt(self.budgets[0] * self.budgets[1])) ** self.exponent


def _lines(budgets: tuple[float, float], lines: Mapping[Quantity, tuple[float, float]]) -> Mapping[Quantity, Line]:
    return MappingProxyType({y: Line(*line, budgets) for y, line in lines.items()})


LAWS: Mapping[str, Mapping[Quantity, Line]] = MappingProxyType(
    {
        "nethack": _lines(
            NETHACK_BUDGETS,
            {
                "loss": (-0.172, 0.3247),
                "params": (0.605, 2515000.0),
                "samples": (0.395, 2096000000.0),
                "return": (0.34, 1104.0),
            },
        ),
        "BankHeist": _lines(
            ATARI_BUDGETS,
            {
                "loss": (-0.377, 0.2253),
                "params": (0.427, 38390.0),
                "samples": (0.64, 21000000.0),
                "return": (0.34, 179.6),
            },
        ),
        "BattleZone": _lines(
            ATARI_BUDGETS,
            {
                "loss": (-0.154, 1.09),
                "params": (0.413, 41250.0),
                "samples": (0.652, 19720000.0),
                "return": (0.257, 20180.0),
            },
        ),
        "Breakout": _lines(
            ATARI_BUDGETS,
            {
                "loss": (-0.26, 0.331),
                "params": (0.727, 23810.0),
                "samples": (0.453, 19800000.0),
                "return": (0.234, 15.58),
            },
        ),
        "NameThisGame": _lines(
            ATARI_BUDGETS,
            {
                "loss": (-0.145, 0.4593),
                "params": (0.558, 42010.0),
                "samples": (0.585, 13360000.0),
                "return": (0.098, 5730.0),
            },
        ),
    }
)
"""By game and quantity, against compute."""


def law(game: str, y: Quantity) -> Line | None:
    """The paper's law of `y` against compute in `game` (in any case); None for a game that is not in the paper."""
    for name, lines in LAWS.items():
        if name.casefold() == game.casefold():
            return lines[y]
    return None
