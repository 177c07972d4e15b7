"""Arbitrary rows and damaged files: a fit with diagnostics or a one-line error, never a traceback, never NaN."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from data.common.cli import UserError
from eval.results import ResultRow, write_rows
from laws.figures import draw
from laws.figures.style import Reference, Subject
from laws.fitting.analysis import fit
from laws.predict.forecast import extrapolate, forecast_loss, forecast_return
from laws.predict.plan import plan
from laws.report.document import document
from laws.rows.runs import read


def table(random: np.random.Generator) -> list[ResultRow]:
    """Rows of any shape: one cell or many, equal values, huge and tiny ones, holes."""
    budgets = 10.0 ** random.choice([0, 3, 12, 15, 18, 50], random.integers(1, 5)) * random.integers(1, 4)
    sizes = random.choice([1, 2, 1000, 10**6, 10**12], random.integers(1, 8))
    scale = 10.0 ** random.choice([-50, -3, 0, 0, 0, 3, 50])
    rows = []
    for number in range(int(random.integers(1, 60))):
        loss = None if random.random() < 0.1 else float(scale * random.choice([1.0, random.uniform(0.5, 2)]))
        played = None if random.random() < 0.3 else float(random.choice([0, -5, 1, 1e50, random.uniform(1, 100)]))
        rows.append(
            ResultRow(
                str(random.choice(["a", "b"])),
                f"r{random.integers(6)}-{number}",
                float(random.choice(budgets)),
                int(random.choice(sizes)),
                int(random.integers(1, 10**9)),
                loss,
                None if random.random() < 0.5 else float(random.choice([0, 0.01])),
                played,
            )
        )
    return rows


@pytest.mark.parametrize("seed", [*range(8), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(8, 40))])
def test_any_rows_have_a_fit_without_nonsense(seed: int) -> None:
    rows = table(np.random.default_rng(seed))
    fitted = fit(rows, draws=0)
    record = document(fitted)
    json.dumps(record, allow_nan=False)
    for law in record["laws"]:
        assert math.isfinite(law["exponent"])
        assert law["coefficient"] > 0
    for game in fitted.games:
        for forecast in (forecast_loss(game, 1e20), forecast_return(game, 1e20, expert=50.0)):
            for entry in forecast.entries:
                assert not math.isnan(entry.value)
        if game.profiles:
            plan(game, 1e20)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [3, 7, 14, 22])
@pytest.mark.usefixtures("unrendered")
@pytest.mark.filterwarnings("error")
def test_any_rows_can_be_drawn(seed: int) -> None:
    """Seeds that figures had failed with: no window to fit, and returns from 1 to 1e50."""
    for game in fit(table(np.random.default_rng(seed)), draws=0).games:
        extrapolation = extrapolate(game) if game.profiles else None
        names = [each.name for each in draw(Subject(game, Reference(expert=50.0, other=game), extrapolation))]
        assert len(set(names)) == len(names) >= 9


def test_any_file_is_read_or_refused_in_a_line(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    write_rows(tmp_path / "runs.jsonl", table(np.random.default_rng(7)))
    refused = []
    for kind in ("jsonl", "csv"):
        whole = (tmp_path / f"runs.{kind}").read_bytes()
        for _ in range(300):
            damaged = bytearray(whole)
            for _ in range(random.integers(1, 4)):
                place = int(random.integers(len(damaged)))
                how = random.integers(3)
                if how == 0:
                    damaged[place] = random.integers(256)
                elif how == 1:
                    del damaged[place : place + int(random.integers(1, 30))]
                else:
                    damaged[place:place] = random.bytes(3)
            path = tmp_path / f"damaged.{kind}"
            path.write_bytes(bytes(damaged))
            try:
                found = read([path])
            except UserError as error:
                refused.append(str(error))
                continue
            assert found.rows
    assert len(refused) > 200
    assert not any("\n" in message for message in refused)
