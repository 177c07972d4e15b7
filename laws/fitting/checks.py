"""Checks of the fitted laws: each returns diagnostics, by code, of why a law may not be trusted."""

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from eval.results import ResultRow
from laws.fitting.bootstrap import exponent, optima
from laws.fitting.isoflop import QUANTITIES, Cell, Grid, Profile
from laws.fitting.law import Law
from laws.fitting.parametric import Parametric
from laws.rows.diagnostic import Diagnostic
from laws.rows.runs import exact_versions

TIED = 0.95
"""|Pearson's r| of ln N and ln D above which alpha and beta of L(N, D) can't be separated."""
MISFIT = 0.05
"""Standard deviation of ln loss about L(N, D) above which the form is wrong; seeds differ by a fifth of that."""
WIDER = 2.5
"""Greatest ratio of the interval by runs to the interval that takes budgets as independent. Where each cell is a run of
its own the ratio is up to 2, since bootstrap draws leave sizes out."""
MIN_DECADES = 3.0
"""Decades of compute below which an exponent says little of larger budgets."""


def check_mixtures(game: str, rows: Sequence[ResultRow]) -> list[Diagnostic]:
    """`mixed_convention`, `mixed_protocol`: rows whose FLOPs or returns were not measured alike."""
    diagnostics: list[Diagnostic] = []
    conventions = sorted({str(row.flop_convention) for row in rows})
    versions = [f"exact version {version}" for version in exact_versions(rows)]
    if ways := [*(conventions if len(conventions) > 1 else ()), *(versions if len(versions) > 1 else ())]:
        message = f"Rows count FLOPs in different ways ({', '.join(ways)}): budgets don't compare."
        diagnostics.append(Diagnostic("mixed_convention", "warning", game, None, message))
    protocols = sorted({str(row.protocol) for row in rows if row.return_mean is not None})
    if len(protocols) > 1:
        message = f"Returns were measured in different ways ({'; '.join(protocols)}): they don't compare."
        diagnostics.append(Diagnostic("mixed_protocol", "warning", game, None, message))
    return diagnostics


def check_span(game: str, found: Sequence[Profile]) -> list[Diagnostic]:
    """`few_decades` of compute, and `best_of_noisy`: the bias of the envelope."""
    if len(found) < 2:
        return []
    diagnostics: list[Diagnostic] = []
    decades = float(np.log10(found[-1].flops / found[0].flops))
    if decades < MIN_DECADES:
        message = (
            f"The budgets span {decades:.1f} decades of compute; below {MIN_DECADES:.0f} a power law can't be told"
            " from other curves: add budgets."
        )
        diagnostics.append(Diagnostic("few_decades", "warning", game, None, message))
    message = (
        "The envelope takes the best of several noisy cells at each budget, so its losses are a little too low and"
        " its returns too high, and it knows only the sizes that were trained; compare with the isoFLOP laws."
    )
    return [*diagnostics, Diagnostic("best_of_noisy", "info", game, None, message)]


def check_single_run(game: str, grid: Grid, laws: Sequence[Law]) -> list[Diagnostic]:
    """`one_run`: exponents that leave their own interval when a single run is left out."""
    without = {}
    for number, run in enumerate(grid.runs):
        count_R = np.ones(len(grid.runs), int)
        count_R[number] = 0
        without[run] = {key: exponent(*points) for key, points in optima(grid, count_R).items()}
    diagnostics: list[Diagnostic] = []
    for law in laws:
        low, high = law.power.exponent_ci or (-np.inf, np.inf)
        values = {run: at[law.method, law.y] for run, at in without.items() if (law.method, law.y) in at}
        finite = {run: value for run, value in values.items() if np.isfinite(value)}
        if law.form != "power" or not finite:
            continue
        run = max(finite, key=lambda name: abs(finite[name] - law.power.exponent))
        if not low <= finite[run] <= high:
            message = (
                f"Without run {run} the exponent of {law.y} ({law.method}) is {finite[run]:.3f} instead of"
                f" {law.power.exponent:.3f}, outside its interval: it hangs on that run; train its size once more."
            )
            diagnostics.append(Diagnostic("one_run", "warning", game, None, message))
    return diagnostics


def check_methods(game: str, laws: Sequence[Law]) -> list[Diagnostic]:
    """`disagreement`: quantities whose envelope and isoFLOP exponents have disjoint intervals."""
    diagnostics: list[Diagnostic] = []
    for y in QUANTITIES:
        both = [law for law in laws if law.y == y and law.form == "power"]
        for one, other in pairwise(both):
            first, second = one.power.exponent_ci, other.power.exponent_ci
            if first and second and (first[1] < second[0] or second[1] < first[0]):
                message = (
                    f"Exponents of {y} disagree: {one.power.exponent:.3f} ({one.method}) and"
                    f" {other.power.exponent:.3f} ({other.method}) have intervals that don't touch."
                )
                diagnostics.append(Diagnostic("disagreement", "warning", game, None, message))
    return diagnostics


def check_intervals(game: str, laws: Sequence[Law]) -> list[Diagnostic]:
    """`intervals_differ`: laws whose budgets are not independent measurements, by the interval over runs."""
    diagnostics: list[Diagnostic] = []
    for law in laws:
        if law.runs_ci is None or law.power.exponent_ci is None:
            continue
        (low, high), (least, most) = law.power.exponent_ci, law.runs_ci
        if most - least > WIDER * (high - low) or not least <= law.power.exponent <= most:
            message = (
                f"The exponent of {law.y} ({law.method}) is {low:.3f} to {high:.3f} if budgets are independent, and"
                f" {least:.3f} to {most:.3f} by draws of runs: report the latter, or train each budget by itself."
            )
            diagnostics.append(Diagnostic("intervals_differ", "warning", game, None, message))
    return diagnostics


def check_surface(game: str, found: Parametric, cells: Sequence[Cell]) -> list[Diagnostic]:
    """`inseparable`, `on_bound`, `stuck`, `misfit`: a parametric law that the cells don't determine or don't follow."""
    diagnostics: list[Diagnostic] = []
    if abs(found.correlation) > TIED:
        message = (
            f"ln N and ln D of the cells correlate by {found.correlation:.3f}: alpha and beta can't be told apart;"
            " train sizes at several lengths."
        )
        diagnostics.append(Diagnostic("inseparable", "warning", game, None, message))
    if found.on_bounds:
        message = (
            f"The parametric fit has {', '.join(found.on_bounds)} at a bound: the cells don't determine it;"
            " train larger budgets, or trust the other laws."
        )
        diagnostics.append(Diagnostic("on_bound", "warning", game, None, message))
    if not found.moved or found.share_reaching_best < 1 / found.starts + 1e-9:
        message = (
            f"Only {found.share_reaching_best:.0%} of {found.starts} starts of the parametric fit end at the best:"
            " its parameters may not be the best there are."
        )
        diagnostics.append(Diagnostic("stuck", "warning", game, None, message))
    left = np.array([math.log(cell.loss / found.surface.predict(cell.params, cell.samples)) for cell in cells])
    if (typical := float(np.std(left))) > MISFIT:
        message = (
            f"The cells lie {typical:.0%} about the parametric law: they follow another shape (see its residuals);"
            " fit larger budgets alone, or trust the laws of the optima."
        )
        diagnostics.append(Diagnostic("misfit", "warning", game, None, message))
    return diagnostics
