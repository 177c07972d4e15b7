"""The paper's own numbers, for comparison.

Source: the per-cell measurements that accompany Tuyls et al., *Scaling Laws for Imitation Learning in
Single-Agent Games* (arXiv 2307.09423), in the folder `experiment_data` of the paper's public code.
`EXPONENTS` are what this package's `envelope` fit gives on them, over every published budget: 22 for NetHack
(1e14 to 1e19 FLOPs), 16 for each Atari game (1e13 to 1e18). For NetHack they agree with the 0.61 (N) and 0.39
(D) that the paper is quoted with. The return is the greatest mean return of each budget.
"""

from collections.abc import Mapping
from types import MappingProxyType

from laws.resample import Quantity

PAPER = "Tuyls et al., arXiv 2307.09423"

EXPONENTS: Mapping[str, Mapping[Quantity, float]] = MappingProxyType(
    {
        "nethack": {"loss": -0.172, "params": 0.605, "samples": 0.395, "return": 0.340},
        "BankHeist": {"loss": -0.377, "params": 0.427, "samples": 0.640, "return": 0.340},
        "BattleZone": {"loss": -0.154, "params": 0.413, "samples": 0.652, "return": 0.257},
        "Breakout": {"loss": -0.260, "params": 0.727, "samples": 0.453, "return": 0.234},
        "NameThisGame": {"loss": -0.145, "params": 0.558, "samples": 0.585, "return": 0.098},
    }
)
"""Exponent of each quantity against compute, to three decimals, by game."""


def exponent(game: str, y: Quantity) -> float | None:
    """The paper's exponent of `y` against compute in `game` (any case), None where it has no such game."""
    for name, exponents in EXPONENTS.items():
        if name.casefold() == game.casefold():
            return exponents[y]
    return None
