"""The parametric law L(N, D) of one game with bootstrap intervals, and the compute-optimal frontier it implies."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from laws.fitting.bootstrap import (
    MIN_DRAWS,
    SLOW_DRAWS,
    RunNoise,
    Simulated,
    basic,
    basic_of_log,
    optima,
    slopes,
    surface_of,
)
from laws.fitting.checks import check_surface
from laws.fitting.isoflop import Cell, price_of
from laws.fitting.parabola import Grid
from laws.fitting.parametric import Parametric, Price, Surface
from laws.fitting.power import PowerLaw, finite_exp
from laws.fitting.refits import refit_surfaces
from laws.rows.diagnostic import Diagnostic

DRAWN_CELLS = 100_000
"""Cells of all simulated studies together that the parametric law is fitted to, at most."""
_COLUMNS = ("params", "samples", "loss")
_POSITIVE = ("A", "B", "alpha", "beta")


@dataclass(frozen=True)
class ParametricLaw:
    """The parametric law of a game, with 95 % intervals by bootstrap of the study."""

    fit: Parametric
    price: Price
    """FLOPs per sample against N, fitted to the cells; it shapes the frontier."""
    middle: float
    """Geometric mean budget of the cells, FLOPs."""
    draws: tuple[dict[str, float], ...]
    """`values` of simulated studies; empty where the noise of the study can't be told."""
    clean: dict[str, float]
    """`values` of the study without noise, by the same fit; empty without draws."""
    noise: tuple[RunNoise, ...] = ()
    """Of the runs in the simulated studies."""

    @property
    def values(self) -> dict[str, float]:
        """E, A, B, alpha, beta, and the exponents of N*, D* and the loss against compute."""
        return _values(self.fit.surface, self.price)

    @property
    def intervals(self) -> dict[str, tuple[float, float] | None]:
        """95 % intervals of `values` by bootstrap of the study; None without draws. E is within 0."""
        return {name: self._interval(name, value) for name, value in self.values.items()}

    def _interval(self, name: str, value: float) -> tuple[float, float] | None:
        drawn = np.array([draw[name] for draw in self.draws])
        if not len(drawn):
            return None
        if name in _POSITIVE:
            with np.errstate(divide="ignore"):
                return basic_of_log(math.log(value), np.log(drawn), math.log(self.clean[name]), self.noise)
        ends = basic(value, drawn, self.clean[name], self.noise, centred=name == "E")
        if ends is None or name not in ("E", "loss"):
            return ends
        # The irreducible loss isn't negative, and the loss above it falls.
        return (max(ends[0], 0.0), max(ends[1], 0.0)) if name == "E" else (min(ends[0], 0.0), min(ends[1], 0.0))

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


def fit_frontier(
    game: str, cells: Sequence[Cell], *, profiled: bool = True
) -> tuple[ParametricLaw | None, list[Diagnostic]]:
    """The parametric law through all `cells`, None where they don't determine one, and its diagnostics.

    With `profiled` also the profile of its objective over E.
    """
    found = surface_of(cells, profiled=profiled)
    if found is None:
        message = "Too few cells, or all of one size or as many samples: no parametric law L(N, D)."
        return None, [Diagnostic("unfittable", "info", game, None, message)]
    price, middle = price_of(cells), math.exp(float(np.mean([math.log(cell.flops) for cell in cells])))
    if price is None:
        message = (
            "A sample costs no more with a larger network by these rows: no parametric law of how to spend compute."
        )
        return None, [Diagnostic("unfittable", "warning", game, None, message)]
    return ParametricLaw(found, price, middle, (), {}), check_surface(game, found, cells)


@dataclass(frozen=True)
class ParabolaBias:
    """What parabolas make of the parametric law itself, at the sizes of a study and without noise."""

    exponent: float
    """Exponent of N of the parabolas' vertices, less that of the law's optima at the same budgets."""
    ratio: tuple[float, float]
    """Least and greatest N of a vertex over the law's optimum."""


def parabola_bias(grid: Grid, fitted: ParametricLaw, least: int) -> ParabolaBias | None:
    """The bias of the isoFLOP method if `fitted` is the truth; None with fewer than two vertices.

    Parabolas expand the loss to second order about the sizes tried, which grids about a moving optimum may tilt.
    """
    there = grid.there_BxM
    loss = fitted.fit.surface.predict(10**grid.log_params_BxM, 10**grid.log_samples_BxM)
    log_flops_B, log_params_B = optima(grid, np.log(loss), np.full(there.shape, np.nan), least)["isoflop", "params"]
    with np.errstate(divide="ignore", invalid="ignore"):
        truth_B = np.log(fitted.fit.surface.optimum(grid.flops_B, fitted.price).params)
    off_B = np.where(np.isfinite(truth_B), log_params_B - truth_B, np.nan)
    known = off_B[np.isfinite(off_B)]
    if len(known) < 2:
        return None
    slope = float(slopes(log_flops_B, off_B)[0])
    return ParabolaBias(slope, (finite_exp(float(known.min())), finite_exp(float(known.max()))))


def with_draws(fitted: ParametricLaw, cells: Sequence[Cell], simulated: Simulated) -> ParametricLaw:
    """`fitted` with its refits to the first `SLOW_DRAWS` simulated studies; `cells` are in the order of the grid."""
    found = simulated_surfaces(cells, simulated, fitted.fit.surface)
    if not found:
        return fitted
    clean, *drawn = (_values(surface, fitted.price) for surface in found)
    return replace(fitted, draws=tuple(drawn), clean=clean, noise=simulated.noise[:1])


def simulated_surfaces(cells: Sequence[Cell], simulated: Simulated, start: Surface) -> list[Surface]:
    """L(N, D) of the study without noise, then of simulated ones; empty with too many cells for `MIN_DRAWS` of them."""
    draws = min(SLOW_DRAWS, len(simulated.log_loss), DRAWN_CELLS // max(len(cells), 1))
    if draws < MIN_DRAWS:
        return []
    there = simulated.grid.there_BxM
    wanted = np.isin(np.flatnonzero(there.ravel()), np.flatnonzero(there.ravel())[-len(cells) :])
    log_loss = np.concatenate([simulated.losses.mean_BxM[None], simulated.log_loss[:draws]])[:, there][:, wanted]
    params, samples, loss = (np.array([getattr(cell, name) for cell in cells], float) for name in _COLUMNS)
    return refit_surfaces(params, samples, loss, start, log_loss)


def _values(surface: Surface, price: Price) -> dict[str, float]:
    params, samples = surface.exponents(price)
    own = {name: getattr(surface, name) for name in ("E", "A", "B", "alpha", "beta")}
    return {**own, "params": params, "samples": samples, "loss": -surface.beta * samples}
