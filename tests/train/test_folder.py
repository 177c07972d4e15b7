"""The folder of a run: its dtype is resolved once and stays; its devices are recorded at every start."""

import dataclasses
import json
from pathlib import Path

import pytest

from agents.ladder import find
from data.common.cli import UserError
from tests.train.runs import config
from train.checkpoint import budgets, load_budget
from train.config import TrainConfig, config_hash
from train.folder import check, claim, devices_of, dtype_of, read_run, record_start, resolved
from train.loop import train


@pytest.mark.slow
def test_a_run_records_its_dtype_and_every_start(store: Path, tmp_path: Path) -> None:
    asked = config(store, tmp_path / "run", (1,))
    assert asked.compute == "auto"
    for _ in range(2):
        train(asked, progress=False)
    described = read_run(asked.run)
    assert dtype_of(described) == described["config"]["compute"] == "float32"
    starts = [json.loads(line) for line in (asked.run / "starts.jsonl").read_text().splitlines()]
    assert [(start["device"], start["devices"], start["processes"]) for start in starts] == [("cpu", 8, 1)] * 2
    assert config_hash(resolved(asked)) != config_hash(dataclasses.replace(asked, compute="bfloat16"))


@pytest.mark.slow
def test_auto_is_the_dtype_of_the_run_wherever_it_goes_on(store: Path, tmp_path: Path) -> None:
    """Started elsewhere in bfloat16, on a CPU it goes on in bfloat16, bit for bit."""
    there = config(store, tmp_path / "there", (2,), compute="bfloat16")
    here = dataclasses.replace(there, run=tmp_path / "here", compute="auto")
    train(there, progress=False)
    here.run.mkdir()
    (here.run / "config.json").write_text((there.run / "config.json").read_text())
    train(here, progress=False)
    assert budgets(here.run) == budgets(there.run)
    with pytest.raises(UserError, match="here computes in bfloat16, not float32: leave --compute out"):
        train(dataclasses.replace(here, compute="float32"), progress=False)


def test_another_dtype_is_refused_and_the_same_accepted(trained: TrainConfig) -> None:
    before = budgets(trained.run)
    train(dataclasses.replace(trained, compute="float32"), progress=False)
    assert budgets(trained.run) == before
    with pytest.raises(UserError, match="computes in float32, not bfloat16"):
        train(dataclasses.replace(trained, compute="bfloat16"), progress=False)


@pytest.mark.parametrize(("device", "dtype"), [("cpu", "float32"), ("NVIDIA H100 80GB HBM3", "bfloat16")])
def test_a_run_of_an_earlier_version_has_the_dtype_of_its_device(
    store: Path, tmp_path: Path, device: str, dtype: str
) -> None:
    earlier = {"config": {"compute": "auto"}, "device": device}
    assert dtype_of(earlier) == dtype
    (tmp_path / "config.json").write_text(json.dumps(earlier))
    assert resolved(config(store, tmp_path)).compute == dtype
    assert devices_of(tmp_path, earlier) == device
    record_start(tmp_path)
    assert devices_of(tmp_path, earlier) == ", ".join(dict.fromkeys([device, "cpu"]))


DEFAULTS = {"rate": 0.1, "optimizer": {"lr": 1e-3, "clip": 1.0}}


def test_a_run_of_an_earlier_version_goes_on_with_the_defaults_of_new_fields(tmp_path: Path) -> None:
    earlier = {"config": {"optimizer": {"lr": 1e-3}}}
    (tmp_path / "config.json").write_text(json.dumps(earlier))
    claim(tmp_path, earlier, DEFAULTS, DEFAULTS)
    with pytest.raises(UserError, match="another rate"):
        claim(tmp_path, earlier, DEFAULTS | {"rate": 0.2}, DEFAULTS)
    with pytest.raises(UserError, match="another optimizer"):
        claim(tmp_path, earlier, DEFAULTS | {"optimizer": {"lr": 1e-3, "clip": 2.0}}, DEFAULTS)


@pytest.mark.parametrize(
    "name", ["nethack/lstm/16", pytest.param("nethack/lstm/16+core.layers=2", marks=pytest.mark.slow)]
)
def test_a_run_of_an_earlier_version_keeps_its_network(store: Path, tmp_path: Path, name: str) -> None:
    """Of the ladder's first version, whose encoders had no norms."""
    before = find(f"{name}+encoders.norm=false")
    run = dataclasses.replace(config(store, tmp_path / "run", (2,)), agent=before.name)
    train(run, progress=False)
    [budget] = budgets(run.run)
    described = json.loads((run.run / "config.json").read_text())
    del described["ladder"]
    (run.run / "config.json").write_text(json.dumps(described | {"config": described["config"] | {"agent": name}}))

    assert read_run(run.run)["config"]["agent"] == before.name
    load_budget(run.run, budget, before)
    with pytest.raises(UserError, match="another agent"):
        train(dataclasses.replace(run, agent=name), progress=False)
    train(run, progress=False)
    assert budgets(run.run) == [budget]


def test_a_policy_without_a_configuration_is_a_run_of_another_kind(tmp_path: Path) -> None:
    """`data.experts` reads such a folder, of no more than a kind, a game and its actions."""
    (tmp_path / "config.json").write_text(json.dumps({"kind": "ppo", "game": "Breakout", "actions": ["NOOP"]}))
    with pytest.raises(UserError, match="holds a run of another kind"):
        read_run(tmp_path)


def test_what_a_killed_process_began_to_write_is_no_other_run(tmp_path: Path) -> None:
    (tmp_path / ".config.json.0123456789abcdef.tmp").write_text("{")
    assert not check(tmp_path, {}, {}, {})
    (tmp_path / "notes.tmp").write_text("mine")
    with pytest.raises(UserError, match="is not empty and no run"):
        check(tmp_path, {}, {}, {})
