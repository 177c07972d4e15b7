"""The table of the paper's laws against its published measurements."""

from pathlib import Path

import numpy as np
import pytest

from laws.fitting.analysis import fit
from laws.predict import published
from laws.rows.runs import read
from tests.laws.synthetic import only


@pytest.mark.parametrize("game", published.LAWS)
def test_published_laws_are_those_of_the_published_measurements(paper: Path, game: str) -> None:
    found = only(fit(read([paper / f"{game}.csv"]).rows, draws=0))
    for y, line in published.LAWS[game].items():
        law = found.law(y, "envelope")
        assert law is not None
        assert round(law.exponent, 3) == line.exponent
        ends = np.array(line.budgets)
        assert (law.points[0][0], law.points[-1][0]) == line.budgets
        np.testing.assert_allclose(line.predict(ends), law.predict(ends), rtol=4e-3)


def test_published_laws_are_found_whatever_the_case_of_the_name() -> None:
    found = published.law("breakout", "params")
    assert found is not None
    assert found.exponent == 0.727
    assert published.law("Pong", "params") is None
