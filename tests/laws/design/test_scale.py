"""Designs at a fraction of their compute."""

from pathlib import Path

import pytest

from agents.ladder import find
from data.common.cli import UserError
from laws.design.config import Shared, SweepConfig, shared_of
from laws.design.grid import content_of_game
from laws.design.presets import PRESETS
from laws.design.runs import varied
from laws.design.scale import scaled
from laws.sweep.command import parsed

CONTENT = content_of_game("nethack")


def params(family: str, size: str) -> int:
    return find(f"{family}/{size}").cost(32).counted_params


def test_budgets_sizes_samples_and_batch_shrink_together() -> None:
    config = SweepConfig(budgets=(1e16, 1e18), family="nethack/lstm", sizes=("512", "2048"), scale=1e-2, total=1e19)
    small, shared = scaled(config, shared_of(Shared(lanes=640)), CONTENT)
    assert (small.budgets, small.total, small.scale, shared.lanes) == ((1e14, 1e16), 1e17, 1.0, 64)
    for before, after in zip(config.sizes, small.sizes, strict=True):
        assert params("nethack/lstm", after) / params("nethack/lstm", before) == pytest.approx(0.1, rel=0.35)
    assert scaled(small, shared, CONTENT) == (small, shared)


def test_shapes_keep_their_depth_and_what_else_was_changed() -> None:
    sizes = ("22M+core.context=256+core.layers=9", "22M+core.layers=4+core.width=768")
    config = SweepConfig(samples=(1e9,), family="nethack/paper", sizes=sizes, scale=1e-4)
    small, _ = scaled(config, shared_of(Shared()), CONTENT)
    assert (small.family, small.samples) == ("nethack/transformer", (1e7,))
    cores = [vars(find(f"{small.family}/{size}"))["core"] for size in small.sizes]
    assert [(core.layers, core.width) for core in cores] == [(9, 48), (4, 80)]
    assert [core.context for core in cores] == [256, 64]


def test_what_reads_the_inventory_still_does() -> None:
    config = SweepConfig(samples=(1e9,), family="nethack/paper", sizes=("22M", "22M-inv"), scale=1e-3)
    small, _ = scaled(config, shared_of(Shared()), CONTENT)
    assert (small.family, small.sizes) == ("nethack/paper", ("520k", "520k-inv"))


CELLS = {
    "paper-nethack": (217, 151),
    "paper-nethack-lstm": (217, 217),
    "paper-nethack-lr": (10, 10),
    "paper-nethack-context": (35, 35),
    "paper-nethack-depth": (22, 22),
    "paper-nethack-inventory": (10, 10),
    "paper-atari": (188, 120),
}
"""Cells of each preset, and at a thousandth of its compute, where neighbours among its smallest sizes are one."""


@pytest.mark.parametrize("name", PRESETS)
def test_presets_are_planned_whole_and_at_a_thousandth(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    game, budgets = "Breakout" if "atari" in name else "nethack", []
    for scale, cells in zip(("1", "1e-3"), CELLS[name], strict=True):
        words = ["sweep", str(tmp_path / "x"), "--preset", name, "--game", game, "--dry-run", "--scale", scale]
        assert parsed(words, "train")() == 0
        said = capsys.readouterr().out
        assert said.startswith(f"{cells} cells in "), said
        assert "h100" in said
        budgets.append(float(said.splitlines()[2].split()[0]))
    assert 1e-4 < budgets[1] / budgets[0] < 5e-3
    assert not (tmp_path / "x").exists()


def test_options_vary_and_windows_leave_the_batch() -> None:
    shared = shared_of(Shared(lanes=64, window=32))
    assert [(one.window, one.lanes) for one in varied("window=8,64", shared)] == [(8, 256), (64, 32)]
    assert [one.optimizer.lr for one in varied("lr=1e-5,1e-2", shared)] == [1e-5, 1e-2]
    assert [one.optimizer.final_lr for one in varied("lr=1e-5,1e-2", shared)] == [1e-5, 1e-4]
    assert [one.dropout for one in varied("dropout=0,0.5", shared)] == [0.0, 0.5]
    for wrong, said in {
        "window=24": "no divisor of the batch of 2,048",
        "window=x": "no number",
        "agent=a": "write NAME=VALUE",
        "lr": "write NAME=VALUE",
        "init_seed=1,2": "write NAME=VALUE",
        "dropout=2": "dropout must be",
    }.items():
        with pytest.raises(UserError, match=said):
            varied(wrong, shared)
