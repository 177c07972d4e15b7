"""Checkpoints: their format, and what is done with damaged ones."""

import dataclasses
from pathlib import Path

import orbax.checkpoint as ocp
import pytest

from agents.ladder import find
from data.common.cli import UserError
from tests.train.runs import AGENT, config
from train.checkpoint import budgets, load_budget
from train.config import TrainConfig
from train.loop import train


def test_checkpoints_hold_the_names_that_older_runs_hold(trained: TrainConfig) -> None:
    saved = ocp.v1.metadata(str(trained.run / "checkpoints" / "12")).metadata
    assert isinstance(saved, dict)
    assert set(saved) == {"step", "params", "average", "opt_state", "carry"}
    assert list(saved["params"]) == sorted(group.name for group in find(AGENT).cost(1).groups)


@pytest.mark.slow
def test_a_damaged_checkpoint_is_refused_and_the_one_before_used(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    short, longer = config(store, tmp_path / "run", (6,)), config(store, tmp_path / "run", (6,), checkpoint_seconds=0)
    train(longer, progress=False)
    newest = max((tmp_path / "run" / "checkpoints").iterdir(), key=lambda path: int(path.name))
    for path in newest.rglob("*"):
        if path.is_file() and path.stat().st_size > 1000:
            path.write_bytes(path.read_bytes()[:500])
    before = budgets(short.run)
    train(short, progress=False)
    assert "damaged" in capsys.readouterr().out
    assert budgets(short.run) == before


def test_damaged_parameters_are_refused(store: Path, tmp_path: Path) -> None:
    done = config(store, tmp_path / "run", (2,))
    train(done, progress=False)
    (budget,) = budgets(done.run)
    wrong = dataclasses.replace(budget, digest="0" * 64)
    with pytest.raises(UserError, match="damaged"):
        load_budget(done.run, wrong, find(AGENT))
