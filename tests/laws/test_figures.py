"""What figures show: returns by size, the past foretold, and settings."""

from dataclasses import replace

import numpy as np
import pytest

from eval.results import ResultRow
from laws.figures import recount, settings
from laws.figures.canvas import single
from laws.figures.marks import Reference, draw_reference
from laws.figures.outlook import pictures
from laws.fitting.analysis import GameFit, analyse
from laws.fitting.choices import recounted
from laws.fitting.isoflop import Profile, return_profiles
from laws.predict.forecast import outlook
from tests.laws.test_forecast import nethack, planted, profiles_of

__all__ = ["nethack"]


def test_the_greatest_return_is_found_between_the_sizes() -> None:
    """ln R = -(log10 N - u)² + c has its vertex at u, whatever the losses are."""
    rows = []
    for flops, u in ((1e18, 7.2), (1e19, 7.9)):
        for log_params in np.linspace(u - 0.9, u + 0.8, 7):
            score = 300 * np.exp(-((log_params - u) ** 2))
            rows.append(
                ResultRow("text", f"n{log_params:.3f}", flops, round(10**log_params), 10**6, 1.0, return_mean=score)
            )
    found = return_profiles(profiles_of(rows))
    for profile, u in zip(found, (7.2, 7.9), strict=True):
        assert profile.vertex is not None
        assert np.log10(profile.vertex.params) == pytest.approx(u, abs=1e-6)
        assert 1 / profile.vertex.loss == pytest.approx(300, rel=1e-6)


def test_budgets_that_scored_nothing_have_no_profile_of_returns() -> None:
    rows = [replace(row, return_mean=-1.0 if row.flops < 1e19 else 5.0) for row in planted()]
    assert [profile.flops for profile in return_profiles(profiles_of(rows))] == pytest.approx(
        sorted({row.flops for row in rows if row.flops >= 1e19})
    )


def test_the_last_decade_is_held_out_and_a_law_that_holds_foretells_it() -> None:
    """Hoffmann's law is neither a power law nor one with its offset along an envelope, but is its own surface."""
    rows = planted(budgets=9, sizes=9)
    [held] = outlook(profiles_of(rows)).held_out
    assert held.y == "loss"
    last = max(row.flops for row in rows)
    assert all(x <= last / 10 * 1.001 for x, _ in held.fitted)
    assert [x for x, _ in held.kept_back] == pytest.approx(sorted({r.flops for r in rows if r.flops > last / 9}))
    error = {test.form: abs(test.error) for test in held.tests}
    assert error["parametric"] < 2e-3
    assert error["offset"] < 5e-3
    assert error["power"] > 0.02


def test_the_papers_last_decade_was_not_foretold_by_a_power_law(nethack: tuple[Profile, ...]) -> None:
    loss, returns = outlook(nethack).held_out
    error = {test.form: np.expm1(test.error) for test in loss.tests}
    assert error["power"] < -0.3
    assert abs(error["offset"]) < 0.05
    assert np.expm1(returns.tests[0].error) > 2


def test_few_budgets_hold_none_out_and_say_so() -> None:
    told = outlook(profiles_of(planted(budgets=5)))
    assert told.held_out == ()
    assert [picture.name for picture in pictures("text", told)] == ["forecast", "scores"]


def fitted(rows: list[ResultRow]) -> GameFit:
    return analyse(rows, draws=0).games[0]


def test_settings_are_drawn_where_trainings_differ_in_one_alone() -> None:
    rows = [replace(row, core="lstm", lr=1e-3, width=64, depth=1, context=128, batch=1) for row in planted(budgets=2)]
    assert settings.pictures(fitted(rows)) == ()
    faster = [replace(row, run=f"{row.run}f", lr=3e-3, loss=(row.loss or 0) * 1.1) for row in rows]
    both = [replace(row, context=64) for row in faster]
    assert settings.pictures(fitted(rows + both)) == (), "they differ in two settings"
    assert [picture.name for picture in settings.pictures(fitted(rows + faster))] == ["settings"]
    longer = [replace(row, run=f"{row.run}c", context=256) for row in rows]
    deeper = [replace(row, run=f"{row.run}d", depth=2, width=45, params=row.params + 1) for row in rows]
    for other in (longer, deeper):
        assert len(settings.pictures(fitted(rows + other))) == 1


def test_another_study_beside_is_given_room() -> None:
    far = fitted([replace(row, flops=row.flops * 1e4) for row in planted()])
    points = draw_reference(single()[1], "text", "loss", "L", [1e18, 1e21], Reference(other=far))
    assert [x for x, _ in points] == [profile.flops for profile in far.profiles]
    assert not draw_reference(single()[1], "nethack", "loss", "L", [1e14, 1e15], Reference())


def test_another_count_of_flops_is_drawn_with_its_laws() -> None:
    """FLOPs that are truly C^0.9 make every exponent 1 / 0.9 times as large."""
    rows = planted()
    assert recount.pictures(fitted(rows)) == ()
    assert recount.pictures(fitted([replace(row, flops_exact=row.flops) for row in rows])) == ()
    both = [replace(row, flops_exact=row.flops**0.9, flops_paper=row.flops * 1.05) for row in rows]
    assert [picture.name for picture in recount.pictures(fitted(both))] == ["recount"]
    found = fitted(both)
    figure = recount._figure(found, "exact", recounted(found.profiles, both, "exact"))
    for axes in figure.axes:
        _, labels = axes.get_legend_handles_labels()
        given, exact = (float(label.split("{")[1].split("}")[0]) for label in labels)
        assert exact == pytest.approx(given / 0.9, abs=2e-3)
