"""The report: one self-contained HTML page, rendered from `report.html.jinja`."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from data.common.progress import count
from laws.figures.style import Picture
from laws.fitting.analysis import Fit, GameFit
from laws.fitting.isoflop import cells_of
from laws.predict.forecast import Extrapolation
from laws.predict.hyperparameters import LETTERS, tuned_law
from laws.predict.repeats import fit_repeats
from laws.report import tables
from laws.report.checklist import bias_sentence, checklist
from laws.report.number import duration, signed, significant, span
from laws.report.tables import ReportTable
from laws.rows.diagnostic import Diagnostic, grouped

WIDE = frozenset(
    {"profiles", "laws", "residuals", "windows", "forecast", "scores", "settings", "recount", "comparison"}
)
"""Figures that take the whole width of the page."""
SHOWN_DIAGNOSTICS = 8
"""Up to this many diagnostics are listed without a click."""
DOUBTS = 3
"""Sentences below the headline on what makes it doubtful."""


@dataclass(frozen=True)
class Stage:
    """The time that one stage of a study took."""

    name: str
    seconds: float


@dataclass(frozen=True)
class Context:
    """What the report says besides the fit: where the rows come from and what to compare them with."""

    title: str
    summary: str = ""
    """A paragraph below the title."""
    configuration: str = ""
    """Commands and configuration, verbatim."""
    tables: tuple[ReportTable, ...] = ()
    """For example baselines: random policy, expert, best agent, with intervals."""
    stages: tuple[Stage, ...] = ()
    leading: tuple[ReportTable, ...] = ()
    """Tables before the games, of several studies."""
    leading_pictures: tuple[Picture, ...] = ()
    """Figures below them."""


def render(
    fit: Fit,
    pictures: Mapping[str, Sequence[Picture]],
    context: Context | None = None,
    extrapolations: Mapping[str, Extrapolation | None] | None = None,
) -> str:
    """The page for `fit`, with `pictures` and `extrapolations` by game."""
    found = extrapolations or {}
    context = context or Context("Scaling laws: " + ", ".join(game.game for game in fit.games))
    sections = [
        section(game, pictures.get(game.game, ()), fit.diagnostics, found.get(game.game), fit.columns)
        for game in fit.games
    ]
    return page(sections, context)


def page(sections: Sequence[Mapping[str, Any]], context: Context) -> str:
    """The page with a section for each game of each study."""
    environment = Environment(
        loader=PackageLoader("laws.report", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html.jinja").render(
        context=context,
        games=sections,
        leading_figures=list(map(_figure, context.leading_pictures)),
        times=_times(context.stages),
    )


def section(
    fit: GameFit,
    pictures: Sequence[Picture],
    diagnostics: Sequence[Diagnostic],
    extrapolation: Extrapolation | None,
    columns: Mapping[str, str],
    name: str | None = None,
) -> dict[str, Any]:
    """The variables of the section of one game, under its name or another."""
    of_game = [item for item in diagnostics if item.game in (None, fit.game)]
    groups = grouped(of_game)
    warnings = [group for group in groups if group.severity == "warning"]
    return {
        "name": name or fit.game,
        "headline": _headline(fit),
        "doubts": [group.summary for group in warnings[:DOUBTS]],
        "checklist": checklist(fit, columns),
        "bias": list(bias_sentence(fit)),
        "counts": _counts(fit),
        "laws": tables.laws(fit),
        "parametric": tables.parametric(fit),
        "correlation": _correlation(fit),
        "figures": list(map(_figure, pictures)),
        "forecast": None if extrapolation is None else _forecast(extrapolation),
        "reaching": tables.reaching(fit),
        "repeats": _repeats(fit),
        "tuned": _tuned(fit),
        "choices": tables.choices(fit),
        "spread": ", ".join(tables.spread(fit)),
        "diagnostics": groups,
        "diagnostic_counts": f"{count(len(warnings), 'warning')}, {count(len(groups) - len(warnings), 'note')}",
        "diagnostics_open": len(groups) <= SHOWN_DIAGNOSTICS,
        "optima": tables.optima(fit),
        "cells": tables.cells(fit),
    }


def _figure(picture: Picture) -> dict[str, Any]:
    return {
        "name": picture.name,
        "caption": picture.caption,
        "wide": picture.name in WIDE,
        "data": base64.b64encode(picture.png).decode("ascii"),
    }


def _headline(fit: GameFit) -> dict[str, str] | None:
    """The parts of the sentence on the loss law; None without one."""
    law = fit.found("loss", "envelope")
    if law is None:
        return None
    change = (10**law.power.exponent - 1) * 100
    return {
        "verb": "lowers" if change < 0 else "raises",
        "percent": f"{abs(change):.0f}",
        "exponent": signed(law.power.exponent),
        "interval": "" if law.exponent_ci is None else span(law.exponent_ci),
    }


def _counts(fit: GameFit) -> str:
    cells = cells_of(fit.profiles)
    if not cells:
        return count(0, "trained cell")
    sizes = sorted({cell.params for cell in cells})
    return (
        f"{count(len(cells), 'trained cell')}, {count(len(fit.profiles), 'budget')} from {fit.profiles[0].flops:.3g}"
        f" to {fit.profiles[-1].flops:.3g} FLOPs, {count(len(sizes), 'size')}"
        f" from {sizes[0]:,} to {sizes[-1]:,} parameters"
    )


def _correlation(fit: GameFit) -> dict[str, str] | None:
    """The parts of the sentence on return against loss; None without a correlation."""
    found = fit.correlation
    if found is None:
        return None
    power = found.power
    return {
        "cells": str(len(power.points)),
        "exponent": signed(power.exponent),
        "interval": "" if found.exponent_ci is None else span(found.exponent_ci),
        "r": signed(found.r),
        "r_linear": signed(found.r_linear),
    }


def _forecast(found: Extrapolation) -> dict[str, Any] | None:
    """The combined forecasts in words, and the table of all; None without one."""
    sentences = []
    for forecast, name in ((found.loss, "dev loss"), (found.returns, "mean return")):
        if forecast.combined is not None:
            value, (low, high) = forecast.combined
            sentences.append(f"a {name} of {significant(value)} ({significant(low)} to {significant(high)})")
    if not sentences:
        return None
    return {
        "flops": f"{found.loss.flops:.3g}",
        "combined": " and ".join(sentences),
        "table": tables.forecasts(found),
    }


def _repeats(fit: GameFit) -> str:
    """What repeated samples are worth, in words; empty where no rows repeat them."""
    found = fit_repeats(fit.rows)
    if found is None:
        return ""
    most = max(row.epochs or 0 for row in fit.rows)
    if not found.noticed:
        return (
            f"Samples are repeated, up to {most:.3g} times, without a cost that these losses show: L(N, D) fits them as"
            " well as with fewer effective samples (Muennighoff et al.)."
        )
    return (
        f"Samples are repeated, up to {most:.3g} times. By L(N, D') with D' = U + U·R*·(1 \u2212 exp(\u2212R/R*)), U"
        f" unique samples seen 1 + R times, R* is {found.half_life:.3g}: that many repetitions are worth as much as new"
        f" samples, further ones little. The misfit is {found.objective / max(found.unrepeated, 1e-300):.0%} of that of"
        " L(N, D)."
    )


_SETTINGS = {"lr": "learning rate", "batch": "batch size"}


def _tuned(fit: GameFit) -> str:
    """The laws of the best learning rate and batch size, in words; empty where no sweep determines them."""
    try:
        law = tuned_law(fit.rows)
    except ValueError:
        return ""
    found = []
    for name in law.settings:
        exponents = {LETTERS[scale]: law.exponent(name, scale) for scale in law.scales}
        powers = "".join(f" {letter}^{signed(each.value)}" for letter, each in exponents.items())
        ends = [f"of {letter} {span(each.interval)}" for letter, each in exponents.items() if each.interval]
        interval = f" (95 %: {', '.join(ends)})" if ends else ""
        found.append(f"{_SETTINGS[name]} is {significant(law.coefficient(name))}{powers}{interval}")
    return (
        f"Settings were tuned: by a quadratic about the optimum, fitted to {count(len(law.sweeps), 'cell')} of one N"
        f" and D each, the best {' and the best '.join(found)}."
    )


def _times(stages: Sequence[Stage]) -> ReportTable | None:
    if not stages:
        return None
    rows = [(stage.name, duration(stage.seconds)) for stage in stages]
    rows.append(("all", duration(sum(stage.seconds for stage in stages))))
    return ReportTable("Time", ("Stage", "Duration"), tuple(rows))
