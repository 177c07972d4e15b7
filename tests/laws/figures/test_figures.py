"""What figures show, and that they are drawn of any rows."""

import io
from dataclasses import replace

import numpy as np
import pytest
from matplotlib.image import imread

from eval.results import ResultRow
from laws.figures import draw, forecast, profiles, recount, scores, settings
from laws.figures.style import Picture, Reference, Subject, draw_reference, panels
from laws.fitting.analysis import GameFit, fit
from laws.predict.forecast import extrapolate
from laws.study.coverage import Design
from tests.laws.synthetic import hoffmann_sweep, only


def fitted(rows: list[ResultRow]) -> GameFit:
    return only(fit(rows, draws=0))


@pytest.fixture(scope="module")
def drawn() -> tuple[Picture, ...]:
    return tuple(draw(Subject(only(fit(Design(5, 4, seeds=3).rows(np.random.default_rng(0)), draws=100)))))


def test_figures_that_are_not_empty(drawn: tuple[Picture, ...]) -> None:
    names = ["profiles", "laws", "returns", "return-profiles", "loss-return"]
    names += ["contours", "residuals", "corner", "windows"]
    assert [picture.name for picture in drawn] == names
    for picture in drawn:
        assert picture.png.startswith(b"\x89PNG\r\n")
        assert picture.pdf.startswith(b"%PDF-")
        assert b"CreationDate" not in picture.pdf
        assert picture.caption.endswith(".")
        image = imread(io.BytesIO(picture.png), format="png")
        assert min(image.shape[:2]) > 600
        assert 0.01 < np.mean(image[..., :3].min(axis=-1) < 0.9) < 0.6


def test_a_line_of_a_profile_joins_the_mean_of_the_seeds_of_each_size() -> None:
    rows = Design(5, 4, seeds=3).rows(np.random.default_rng(0))
    [least] = [[row for row in rows if row.flops == flops] for flops in {min(row.flops for row in rows)}]
    line = profiles.draw_loss(Subject(fitted(rows))).axes[0].lines[0]
    sizes, means = map(np.asarray, line.get_data())
    assert sizes.tolist() == sorted({row.params for row in least})
    for size, mean in zip(sizes, means, strict=True):
        losses = [row.loss for row in least if row.params == size and row.loss]
        assert len(losses) == 3
        assert mean == pytest.approx(np.exp(np.mean(np.log(losses))))


def test_few_budgets_have_figures_that_say_so() -> None:
    found = fitted(hoffmann_sweep(budgets=5))
    subject = Subject(found, extrapolation=extrapolate(found))
    for module in (forecast, scores):
        figure = module.draw(subject)
        assert figure is not None
        [text] = figure.texts
        assert "Too few budgets" in text.get_text()
        assert module.draw(Subject(found)) is None


def labels(rows: list[ResultRow]) -> list[str]:
    """The x labels of the panels (the last axes are the colour bar)."""
    figure = settings.draw(Subject(fitted(rows)))
    assert figure is not None
    return [axes.get_xlabel() for axes in figure.axes[:-1]]


def test_settings_are_drawn_where_trainings_differ_in_one_alone() -> None:
    common = {"core": "lstm", "lr": 1e-3, "width": 64, "depth": 1, "context": 128, "batch": 1}
    rows = [replace(row, **common) for row in hoffmann_sweep(budgets=2)]
    assert settings.draw(Subject(fitted(rows))) is None
    faster = [replace(row, run=f"{row.run}f", lr=3e-3, loss=(row.loss or 0) * 1.1) for row in rows]
    both = [replace(row, context=64) for row in faster]
    assert settings.draw(Subject(fitted(rows + both))) is None, "they differ in two settings"
    assert labels(rows + faster) == ["Learning rate"]
    longer = [replace(row, run=f"{row.run}c", context=256) for row in rows]
    deeper = [replace(row, run=f"{row.run}d", depth=2, width=45, params=row.params + 1) for row in rows]
    assert labels(rows + longer) == ["Context (steps per window)"]
    assert labels(rows + deeper) == ["Depth / width of the core"]


def test_another_study_beside_is_given_room() -> None:
    far = fitted([replace(row, flops=row.flops * 1e4) for row in hoffmann_sweep()])
    points = draw_reference(panels()[1][0], "text", "loss", "L", [1e18, 1e21], Reference(other=far))
    assert [x for x, _ in points] == [profile.flops for profile in far.profiles]
    assert not draw_reference(panels()[1][0], "nethack", "loss", "L", [1e14, 1e15], Reference())


def test_another_count_of_flops_is_drawn_with_its_laws() -> None:
    """FLOPs that are truly C^0.9 make every exponent 1 / 0.9 times as large."""
    rows = hoffmann_sweep()
    assert recount.draw(Subject(fitted(rows))) is None
    assert recount.draw(Subject(fitted([replace(row, flops_exact=row.flops) for row in rows]))) is None
    both = [replace(row, flops_exact=row.flops**0.9, flops_paper=row.flops * 1.05) for row in rows]
    figure = recount.draw(Subject(fitted(both)))
    assert figure is not None
    assert "exact" in figure.get_suptitle()
    for axes in figure.axes:
        _, labels = axes.get_legend_handles_labels()
        given, exact = (float(label.split("{")[1].split("}")[0]) for label in labels)
        assert exact == pytest.approx(given / 0.9, abs=2e-3)
