"""The parametric law L(N, D) of one game with bootstrap intervals, and the compute-optimal frontier it implies."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from laws.fitting.bootstrap import interval, surface_of, surfaces
from laws.fitting.checks import check_surface
from laws.fitting.isoflop import Cell, price_of
from laws.fitting.parametric import Parametric, Price, Surface
from laws.fitting.power import PowerLaw
from laws.rows.diagnostic import Diagnostic

DRAWN_CELLS = 1_000_000
"""Cells of all bootstrap draws together that the parametric law is fitted to, at most."""


@dataclass(frozen=True)
class ParametricLaw:
    """The parametric law of a game, with 95 % intervals by bootstrap over runs."""

    fit: Parametric
    price: Price
    """FLOPs per sample against N, fitted to the cells; it shapes the frontier."""
    middle: float
    """Geometric mean budget of the cells, FLOPs."""
    draws: tuple[dict[str, float], ...]
    """`values` of each bootstrap draw."""

    @property
    def values(self) -> dict[str, float]:
        """E, A, B, alpha, beta, and the exponents of N*, D* and the loss against compute."""
        return _values(self.fit.surface, self.price)

    @property
    def intervals(self) -> dict[str, tuple[float, float] | None]:
        """95 % intervals of `values` by bootstrap over runs; None with too few draws."""
        return {name: interval([draw[name] for draw in self.draws]) for name in self.values}

    def power(self, y: Literal["loss", "params", "samples"]) -> PowerLaw | None:
        """The frontier's law of `y` against compute, which is exactly a power law (for the loss, with offset E).

        None where its coefficient is outside the range of double precision.
        """
        surface, exponent = self.fit.surface, self.values[y]
        offset = surface.E if y == "loss" else 0.0
        above = float(getattr(surface.optimum(self.middle, self.price), y)) - offset
        log_coefficient = math.log(above) - exponent * math.log(self.middle) if 0 < above < math.inf else math.inf
        if abs(log_coefficient) > 700:
            return None
        form = "offset" if y == "loss" else "power"
        return PowerLaw(math.exp(log_coefficient), exponent, None, (), None, np.zeros((2, 2)), offset, form)


def fit_frontier(game: str, cells: Sequence[Cell], draws: int) -> tuple[ParametricLaw | None, list[Diagnostic]]:
    """The parametric law through all `cells`, None where they don't determine one, and its diagnostics."""
    found = surface_of(cells, profiled=True)
    if found is None:
        message = "Too few cells, or all of one size or as many samples: no parametric law L(N, D)."
        return None, [Diagnostic("unfittable", "info", game, None, message)]
    price, middle = price_of(cells), math.exp(float(np.mean([math.log(cell.flops) for cell in cells])))
    if price is None:
        message = (
            "A sample costs no more with a larger network by these rows: no parametric law of how to spend compute."
        )
        return None, [Diagnostic("unfittable", "warning", game, None, message)]
    # Time grows with cells times draws: 1,000 draws of 1,000 cells take half a minute.
    draws = min(draws, DRAWN_CELLS // len(cells))
    drawn = tuple(_values(surface, price) for surface in surfaces(cells, found.surface, draws))
    return ParametricLaw(found, price, middle, drawn), check_surface(game, found, cells)


def _values(surface: Surface, price: Price) -> dict[str, float]:
    params, samples = surface.exponents(price)
    own = {name: getattr(surface, name) for name in ("E", "A", "B", "alpha", "beta")}
    return {**own, "params": params, "samples": samples, "loss": -surface.beta * samples}
