"""Checks of the fitted laws: each returns diagnostics, by code, of why a law may not be trusted."""

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from eval.results import ResultRow
from laws.fitting.bootstrap import MIN_DRAWS, MOST_SIMULATED, Simulated
from laws.fitting.isoflop import QUANTITIES, Cell, Profile
from laws.fitting.law import Law
from laws.fitting.parabola import Grid
from laws.fitting.parametric import Parametric
from laws.rows.diagnostic import Diagnostic
from laws.rows.runs import exact_versions

TIED = 0.95
"""|Pearson's r| of ln N and ln D above which alpha and beta of L(N, D) can't be separated."""
MISFIT = 0.05
"""Standard deviation of ln loss about L(N, D) above which the form is wrong; seeds differ by a fifth of that."""
MOVED = 0.05
"""Change of an exponent by leaving one training out that is worth a warning; smaller ones are in the report."""
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


def check_single_run(game: str, laws: Sequence[Law]) -> list[Diagnostic]:
    """`one_run`: exponents that leave their own interval when a single run is left out."""
    diagnostics: list[Diagnostic] = []
    for law in laws:
        ends, reach = law.exponent_ci, law.sensitivity
        if ends is None or reach is None:
            continue
        farthest = max(reach, key=lambda end: abs(end - law.exponent))
        if ends[0] <= farthest <= ends[1] or abs(farthest - law.exponent) < MOVED:
            continue
        message = (
            f"Leaving out one training takes the exponent of {law.y} ({law.method}), {law.exponent:.3f}, as far as"
            f" {farthest:.3f}, outside its interval: it hangs on single sizes; train more."
        )
        diagnostics.append(Diagnostic("one_run", "warning", game, None, message))
    return diagnostics


def check_methods(game: str, laws: Sequence[Law]) -> list[Diagnostic]:
    """`disagreement`: quantities whose envelope and isoFLOP exponents have disjoint intervals."""
    diagnostics: list[Diagnostic] = []
    for y in QUANTITIES:
        both = [law for law in laws if law.y == y and law.form == "power"]
        for one, other in pairwise(both):
            first, second = one.exponent_ci, other.exponent_ci
            if first and second and (first[1] < second[0] or second[1] < first[0]):
                message = (
                    f"Exponents of {y} disagree: {one.power.exponent:.3f} ({one.method}) and"
                    f" {other.power.exponent:.3f} ({other.method}) have intervals that don't touch."
                )
                diagnostics.append(Diagnostic("disagreement", "warning", game, None, message))
    return diagnostics


def check_noise(game: str, grid: Grid, simulated: Simulated | None, draws: int) -> list[Diagnostic]:
    """`no_interval`: a study that doesn't tell its noise."""
    if simulated is None and draws >= MIN_DRAWS:
        sizes = len(np.unique(grid.log_params_BxM[grid.there_BxM]))
        if grid.there_BxM.size * MIN_DRAWS > MOST_SIMULATED:
            message = f"{grid.there_BxM.sum():,} cells are too many to simulate such studies: no intervals."
            return [Diagnostic("no_interval", "warning", game, None, message)]
        message = (
            f"Noise between trainings can't be told from misfit (trainings: {len(grid.runs)}, sizes: {sizes}): no"
            f" intervals. Train each size with three seeds{'' if sizes >= 7 else ', or at least seven sizes'}."
        )
        return [Diagnostic("no_interval", "warning", game, None, message)]
    return []


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
