"""IsoFLOP profiles of the return."""

from dataclasses import replace

import numpy as np
import pytest

from eval.results import ResultRow
from laws.fitting.isoflop import return_profiles
from tests.laws.synthetic import hoffmann_sweep, profiles_of


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
    rows = [replace(row, return_mean=-1.0 if row.flops < 1e19 else 5.0) for row in hoffmann_sweep()]
    assert [profile.flops for profile in return_profiles(profiles_of(rows))] == pytest.approx(
        sorted({row.flops for row in rows if row.flops >= 1e19})
    )
