"""The power laws of one game: each quantity at the optimum of every budget against compute, and return against loss."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from laws.fitting.bootstrap import SLOW_DRAWS, Drawn, exponent, interval
from laws.fitting.isoflop import METHODS, QUANTITIES, Cell, Method, Profile, Quantity
from laws.fitting.power import Form, PowerLaw, fit_law, fit_power, refit
from laws.rows.diagnostic import Diagnostic


@dataclass(frozen=True)
class Law:
    """A power law of one quantity against training compute C in FLOPs.

    `envelope` takes the best trained cell of each budget, as the paper does: the cell of least loss, or for the return
    the cell of greatest mean return. Either is the best of several noisy values and so slightly optimistic. `isoflop`
    takes the quantity at the vertex of the budget's parabola.
    """

    y: Quantity
    """`loss` in nats per step, `params` N, `samples` D, `return` in points of the game."""
    method: Method
    form: Form
    power: PowerLaw
    runs_ci: tuple[float, float] | None
    """95 % interval of the exponent by bootstrap over runs; None without a bootstrap or with too few usable draws."""


def fit_laws(game: str, found: Sequence[Profile], drawn: Sequence[Drawn]) -> tuple[list[Law], list[Diagnostic]]:
    """The laws of every method and quantity, with intervals from the bootstrap draws `drawn`, and their diagnostics."""
    laws: list[Law] = []
    diagnostics: list[Diagnostic] = []
    for method in METHODS:
        for y in QUANTITIES:
            points, left_out = _points(game, found, y, method)
            fitted, of_fit = _fit(game, y, method, points, drawn)
            laws.extend(fitted)
            diagnostics.extend([*left_out, *of_fit])
    return laws, diagnostics


def _points(
    game: str, found: Sequence[Profile], y: Quantity, method: Method
) -> tuple[list[tuple[float, float]], list[Diagnostic]]:
    """(C, y) of every budget with a positive y, and diagnostics for returns that were left out."""
    points: list[tuple[float, float]] = []
    diagnostics: list[Diagnostic] = []
    for profile in found:
        optimum = profile.vertex
        if method == "envelope":
            optimum = (profile.best_return or profile.best) if y == "return" else profile.best
        if optimum is None:
            continue
        value = optimum.return_mean if y == "return" else getattr(optimum, y)
        if value is None:
            message = f"No return at the optimum: the budget is not in the return law ({method})."
            diagnostics.append(Diagnostic("no_return", "info", game, profile.flops, message))
        elif value <= 0:
            message = f"Return {value:.6g} is not positive: the budget is not in the return law ({method})."
            diagnostics.append(Diagnostic("nonpositive_return", "warning", game, profile.flops, message))
        else:
            points.append((profile.flops, float(value)))
    return points, diagnostics


def _fit(
    game: str, y: Quantity, method: Method, points: Sequence[tuple[float, float]], drawn: Sequence[Drawn]
) -> tuple[list[Law], list[Diagnostic]]:
    """The power law through `points`; for the loss also the power law with an offset."""
    name = f"{y} against compute ({method})"
    if len(points) < 2:
        message = f"{len(points)} usable budgets, 2 are needed: no law of {name}."
        return [], [Diagnostic("few_budgets", "warning", game, None, message)]
    try:
        power = fit_power(points)
    except ValueError as error:
        return [], [Diagnostic("unfittable", "warning", game, None, f"No law of {name}: {error}.")]
    law = Law(y, method, "power", power, _by_runs(power, method, y, drawn))
    if power.exponent_ci is None:
        message = f"2 usable budgets: the law of {name} passes through both and has no interval; add budgets."
        return [law], [Diagnostic("no_interval", "warning", game, None, message)]
    if y != "loss":
        return [law], []
    try:
        offset = fit_law("offset", points)
        return [law, Law(y, method, "offset", offset, _by_runs(offset, method, y, drawn))], []
    except ValueError as error:
        message = f"No law with an offset of {name}: {error}."
        return [law], [Diagnostic("unfittable", "info", game, None, message)]


def _by_runs(law: PowerLaw, method: Method, y: Quantity, drawn: Sequence[Drawn]) -> tuple[float, float] | None:
    """95 % interval of a law's exponent over bootstrap draws of runs; None with too few draws that have a fit."""
    points = [draw[method, y] for draw in drawn if (method, y) in draw]
    if law.form == "power":
        return interval([exponent(*each) for each in points])
    again = (refit(law, *each) for each in points[:SLOW_DRAWS])
    return interval([each.exponent for each in again if each is not None])


@dataclass(frozen=True)
class Correlation:
    """Return against loss over the cells of least loss, one per budget."""

    r: float
    """Pearson's r of ln loss and ln return."""
    r_linear: float
    """Pearson's r of loss and return."""
    power: PowerLaw
    """return = coefficient · loss^exponent."""


def correlate(cells: Sequence[Cell]) -> Correlation:
    """Correlate loss with return over those of `cells` that have a positive return.

    Raises:
        ValueError: fewer than three such cells, or all losses or all returns are equal, so that r is undefined.
    """
    points = [(cell.loss, cell.return_mean) for cell in cells if cell.return_mean is not None and cell.return_mean > 0]
    if len(points) < 3:
        raise ValueError(f"{len(points)} budgets with a positive return, 3 are needed")
    values_2xP = np.array(points).T
    if np.any(np.ptp(values_2xP, axis=1) == 0):
        raise ValueError("all losses or all returns are equal")
    r, r_linear = (float(np.corrcoef(each)[0, 1]) for each in (np.log(values_2xP), values_2xP))
    return Correlation(r, r_linear, fit_power(points))
