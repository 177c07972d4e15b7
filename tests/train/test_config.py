"""Configurations and presets."""

import ast
import dataclasses
import json
from pathlib import Path

import pytest
import tyro

from data.common.cli import UserError
from eval.config import EvalConfig
from laws.study.preset import Preset
from tests.train.runs import AGENT, config
from train.config import Optimizer, TrainConfig, config_hash, from_json, to_json
from train.presets import PRESETS, expand
from train.rl.config import Ppo, RlConfig

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"flops": ()}, "no budget"),
        ({"flops": (1e12, 1e12)}, "twice"),
        ({"flops": (-1.0,)}, "flops"),
        ({"lanes": 0}, "lanes"),
        ({"dev_every": 0}, "dev_every"),
        ({"flops": (1e19,), "tensorboard_axis": "flops"}, "choose steps or samples"),
        ({"dropout": 1.0}, "dropout"),
        ({"optimizer": Optimizer(lr=0.0)}, "optimizer.lr"),
    ],
)
def test_impossible_values_are_named(store: Path, tmp_path: Path, changes: dict, named: str) -> None:
    with pytest.raises(UserError, match=named):
        dataclasses.replace(config(store, tmp_path / "run"), **changes)


@pytest.mark.parametrize(("lanes", "every"), [(8, 17_100), (64, 2150), (8192, 50)])
def test_the_dev_loss_takes_a_hundredth_of_the_compute_unless_told(
    store: Path, tmp_path: Path, lanes: int, every: int
) -> None:
    auto = config(store, tmp_path / "run", lanes=lanes, log_every=50)
    assert auto.measure_every == every
    assert auto.dev_samples / 3 <= 0.01 * every * auto.batch
    assert dataclasses.replace(auto, dev_every=3).measure_every == 3
    assert dataclasses.replace(auto, dev_every="never").measure_every is None


def test_config_survives_json_and_the_hash_ignores_where_things_lie(store: Path, tmp_path: Path) -> None:
    here = config(store, tmp_path / "a", dropout=0.1)
    assert from_json(json.loads(json.dumps(to_json(here)))) == here
    there = dataclasses.replace(here, run=tmp_path / "b", log_every=7, dev_every="never", tensorboard_axis="flops")
    assert config_hash(there) == config_hash(here)
    assert config_hash(dataclasses.replace(here, init_seed=1)) != config_hash(here)


def test_a_configuration_of_an_earlier_version_has_the_defaults_of_new_fields(store: Path, tmp_path: Path) -> None:
    now = config(store, tmp_path / "a", optimizer=Optimizer(lr=1e-2))
    earlier = to_json(now)
    del earlier["dropout"], earlier["games"], earlier["optimizer"]["average"]
    del earlier["init_seed"], earlier["data_seed"], earlier["population"]
    assert from_json(earlier) == now
    assert from_json({**earlier, "seed": 3}) == dataclasses.replace(now, init_seed=3, data_seed=3)
    with pytest.raises(UserError, match=r"later version, with Optimizer\.momentum, TrainConfig\.noise"):
        from_json({**earlier, "noise": 1, "optimizer": {"momentum": 1}})


@pytest.mark.parametrize("kind", [TrainConfig, Optimizer, EvalConfig, Preset, RlConfig, Ppo])
def test_every_field_of_a_configuration_is_read(kind: type) -> None:
    folders = ["train/rl"] if kind in (RlConfig, Ppo) else ["train", "eval", "laws"]
    read = set()
    for path in [path for folder in folders for path in (ROOT / folder).rglob("*.py")]:
        read |= {node.attr for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Attribute)}
    assert {field.name for field in dataclasses.fields(kind)} <= read


def test_a_preset_is_a_set_of_options_that_others_override() -> None:
    assert expand(["bc", "--init-seed", "1"]) == ["bc", "--init-seed", "1"]
    for name, preset in PRESETS.items():
        assert expand(["bc", "--lanes", "1", "--preset", name]) == ["bc", *preset.options.split(), "--lanes", "1"]
    with pytest.raises(UserError, match="no preset 'none'"):
        expand(["bc", "--preset", "none"])


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_is_a_valid_configuration(name: str) -> None:
    required = ["--store", "s", "--run", "r", "--agent", AGENT, "--flops", "1e15"]
    parsed = tyro.cli(tyro.conf.OmitArgPrefixes[TrainConfig], args=[*PRESETS[name].options.split(), *required])
    assert (parsed.agent, parsed.flops) == (AGENT, (1e15,))
