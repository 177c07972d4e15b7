"""A run that diverges stops, says where, and leaves nothing that is not finite."""

import dataclasses
import json
from pathlib import Path

import jax
import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from data.sampling.stream import batches
from data.store.reader import TrajectoryStore
from tests.train.runs import LANES, WINDOW, config
from train.checkpoint import Checkpoints, budgets
from train.config import Optimizer, TrainConfig
from train.failure.divergence import FILE, Diverged
from train.loop import train
from train.metrics import read_metrics

ABSURD = Optimizer(lr=3e38, schedule="constant", warmup_samples=0)
"""One update by this learning rate, and the logits overflow."""


def checkpoints(run: Path) -> list[int]:
    return sorted(int(path.name) for path in (run / "checkpoints").iterdir())


@pytest.fixture(scope="module")
def diverging(store: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[TrainConfig, Diverged]:
    run = tmp_path_factory.mktemp("diverging") / "run"
    wrong = config(store, run, (7, 40), optimizer=ABSURD, max_skipped=3, checkpoint_seconds=0, steps_per_dispatch=1)
    with jax.numpy_dtype_promotion("standard"), pytest.raises(Diverged) as error:
        train(wrong, progress=False)
    return wrong, error.value


def test_it_stops_with_the_last_good_state_and_names_the_batch(
    store: Path, diverging: tuple[TrainConfig, Diverged]
) -> None:
    run, error = diverging[0].run, diverging[1]
    assert error.exit_code == 1
    assert "3 steps in a row from batch 1 on" in str(error)
    assert checkpoints(run) == [1]
    assert budgets(run) == []
    named = json.loads((run / FILE).read_text())
    assert (named["batch"], named["skipped"]) == (1, 3)
    opened = TrajectoryStore.open(store)
    batch = next(batches(opened, "train", LANES, WINDOW, 0, start=1))
    steps = {(lane, opened.episodes[row].id) for lane, row in enumerate(batch.episode[:, 0]) if row >= 0}
    assert steps <= {(piece["lane"], piece["episode"]) for piece in named["slices"]}
    assert sum(piece["stop"] - piece["start"] for piece in named["slices"]) == batch.mask.sum()
    for piece in named["slices"][:3]:
        assert f"lane {piece['lane']}: {store} episode {piece['episode']} steps {piece['start']} to" in str(error)


def test_nothing_in_its_metrics_is_not_finite(diverging: tuple[TrainConfig, Diverged]) -> None:
    run = diverging[0].run
    text = (run / "metrics.jsonl").read_text()
    assert "NaN" not in text
    assert "Infinity" not in text
    rows = read_metrics(run)
    # A checkpoint after each step shows the skipped ones at once.
    assert [(row["step"], row["skipped"]) for row in rows] == [(3, 2), (4, 1)]
    assert rows[0]["loss"] > 0
    assert [rows[1][name] for name in ("loss", "top1", "top3", "grad_norm")] == [None] * 4
    events = EventAccumulator(str(run))
    events.Reload()
    scalars = [event.value for tag in events.Tags()["scalars"] for event in events.Scalars(tag)]
    assert np.isfinite(scalars).all()


@pytest.mark.slow
def test_the_same_command_fails_the_same_way_and_a_higher_limit_later(
    diverging: tuple[TrainConfig, Diverged], monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong, before = diverging
    # Its last good state is at the end of a row of steps that were skipped, whenever it was saved.
    monkeypatch.setattr(Checkpoints, "due", False)
    with pytest.raises(Diverged) as error:
        train(wrong, progress=False)
    assert str(error.value) == str(before)
    assert checkpoints(wrong.run) == [1]
    # Noticed when metrics are read anyway, two steps later.
    assert read_metrics(wrong.run)[-1]["step"] == 6
    with pytest.raises(Diverged, match="7 steps in a row from batch 1 on"):
        train(dataclasses.replace(wrong, max_skipped=7), progress=False)
    assert [budget.step for budget in budgets(wrong.run)] == [7]
