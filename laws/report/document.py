"""laws.json."""

from typing import Any

from laws.fitting.analysis import Fit, GameFit
from laws.fitting.frontier import ParametricLaw
from laws.fitting.isoflop import Profile
from laws.fitting.law import Correlation, Law
from laws.fitting.power import PowerLaw

_MISSING = {"offset_ci": None, "sensitivity": None, "discrete": False}
"""What the frontier of a parametric law has no values of."""


def document(fit: Fit) -> dict[str, Any]:
    """The content of laws.json: natural units, full double precision, y = coefficient · x^exponent + offset."""
    return {
        "laws": [record for game in fit.games for record in _law_records(game)],
        "parametric": [_parametric_record(game, game.parametric) for game in fit.games if game.parametric is not None],
        "profiles": [_profile_record(game.game, profile) for game in fit.games for profile in game.profiles],
        "correlation": [
            _correlation_record(game.game, game.correlation) for game in fit.games if game.correlation is not None
        ],
        "choices": [{"game": game.game, **vars(choice)} for game in fit.games for choice in game.choices],
        "diagnostics": [vars(item) for item in fit.diagnostics],
    }


def _law_records(game: GameFit) -> list[dict[str, Any]]:
    found = [_law_record(game.game, law) for law in game.laws]
    if game.parametric is not None:
        for y in ("loss", "params", "samples"):
            power, ends = game.parametric.power(y), game.parametric.intervals[y]
            if power is not None:
                found.append(_head(game.game, y, "parametric", power) | _ends(ends) | _MISSING)
    return found


def _law_record(game: str, law: Law) -> dict[str, Any]:
    return {
        **_head(game, law.y, law.method, law.power),
        **_ends(law.exponent_ci),
        "offset_ci": law.offset_ci,
        "sensitivity": law.sensitivity,
        "discrete": law.discrete,
    }


def _head(game: str, y: str, method: str, power: PowerLaw) -> dict[str, Any]:
    return {"game": game, "y": y, "x": "flops", "method": method, "form": power.form, **_power_record(power)}


def _ends(ends: tuple[float, float] | None) -> dict[str, Any]:
    return {"exponent_ci": ends, "exponent_ci_method": "none" if ends is None else "bootstrap"}


def _profile_record(game: str, profile: Profile) -> dict[str, Any]:
    vertex = profile.vertex
    return {
        "game": game,
        "flops": profile.flops,
        "cells": len(profile.cells),
        "best": vars(profile.best),
        "vertex": None if vertex is None else vars(vertex),
    }


def _parametric_record(game: GameFit, fitted: ParametricLaw) -> dict[str, Any]:
    fit, bias = fitted.fit, game.parabola_bias
    return {
        "game": game.game,
        **vars(fit.surface),
        "objective": fit.objective,
        "intervals": fitted.intervals,
        "price": vars(fitted.price),
        "starts": fit.starts,
        "share_reaching_best": fit.share_reaching_best,
        "gradient_norm": fit.gradient_norm,
        "on_bounds": fit.on_bounds,
        "correlation": fit.correlation,
        "profile_E": fit.profile_E,
        "parabola_bias": None if bias is None else vars(bias),
    }


def _correlation_record(game: str, correlation: Correlation) -> dict[str, Any]:
    return {
        "game": game,
        "y": "return",
        "x": "loss",
        "method": "envelope",
        "r": correlation.r,
        "r_linear": correlation.r_linear,
        **_power_record(correlation.power),
        **_ends(correlation.exponent_ci),
    }


def _power_record(power: PowerLaw) -> dict[str, Any]:
    return {
        "coefficient": power.coefficient,
        "exponent": power.exponent,
        "offset": power.offset,
        "points": power.points,
    }
