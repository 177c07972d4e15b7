"""Damage of any kind to a checkpoint is noticed, and the one before is used."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from data.common.cli import UserError
from tests.train.failure.tiny import Tiny
from train.checkpoint import Checkpoints, budgets, digest, load_budget, save_budget
from train.failure import checksums
from train.state import TrainState, init_state

MUTATIONS = 200


def state_at(step: int) -> TrainState:
    params = {"w": jax.random.normal(jax.random.key(step), (40, 30)), "b": jnp.full(5, step, jnp.float32)}
    return init_state(params, optax.adam(1e-3), averaged=True, carry=params["w"])._replace(step=jnp.int32(step))


def save(run: Path, *states: TrainState) -> None:
    checkpoints = Checkpoints(run, 60)
    for state in states:
        checkpoints.save(state)
    checkpoints.close()


def restored(run: Path) -> TrainState | None:
    checkpoints = Checkpoints(run, 60)
    try:
        found = checkpoints.restore(state_at(0))
        return found.state if found else None
    finally:
        checkpoints.close()


def mutate(folder: Path, random: np.random.Generator) -> str:
    """Damage a file, or several as if they had not been written yet; returns how, '' if nothing changed."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.stat().st_size)
    path = files[random.integers(len(files))]
    content = path.read_bytes()
    how = str(random.choice(["truncated", "flipped", "flipped", "zeroed", "missing", "half-written"]))
    if how == "truncated":
        path.write_bytes(content[: random.integers(len(content))])
    elif how == "flipped":
        place, bit = random.integers(len(content)), random.integers(8)
        path.write_bytes(content[:place] + bytes([content[place] ^ (1 << bit)]) + content[place + 1 :])
    elif how == "zeroed":
        start = random.integers(len(content))
        path.write_bytes(content[:start] + bytes(len(content[start : start + 64])) + content[start + 64 :])
    elif how == "missing":
        path.unlink()
    else:
        for number in random.permutation(len(files))[: random.integers(1, len(files))]:
            other = files[number]
            other.write_bytes(other.read_bytes()[: random.integers(max(1, other.stat().st_size))])
    return f"{path.relative_to(folder)} {how}"


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("saved") / "run"
    save(run, state_at(1), state_at(2))
    return run


@pytest.mark.slow
def test_a_damaged_newest_checkpoint_is_refused_and_the_one_before_used(
    saved: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    random, (one, two) = np.random.default_rng(0), (digest(state_at(step)) for step in (1, 2))
    assert digest(restored(saved)) == two
    refused = 0
    for number in range(MUTATIONS):
        run = tmp_path / str(number)
        shutil.copytree(saved, run)
        how = mutate(run / "checkpoints" / "2", random)
        found = digest(restored(run))
        said = capsys.readouterr().out
        if found == two:
            assert not said, how
            continue
        refused += 1
        assert found == one, how
        assert re.fullmatch(rf"checkpoint {run}/checkpoints/2 is damaged or unfinished and left out: .*\n", said), how
        assert [path.name for path in (run / "checkpoints").iterdir()] == ["1"]
        shutil.rmtree(run)
    # A block of zeros may have been one before.
    assert refused > 0.95 * MUTATIONS


def test_damaged_parameters_of_a_budget_are_refused(tmp_path: Path) -> None:
    agent, random = Tiny("none"), np.random.default_rng(0)
    params = jax.jit(agent.init)(jax.random.key(1))
    facts = {"flops": 1e9, "step": 3, "samples": 7, "flops_exact": 9.5e8, "flops_paper": 8e8}
    kept = save_budget(tmp_path / "run", params, facts)
    refused = 0
    for number in range(MUTATIONS // 4):
        run = tmp_path / str(number)
        shutil.copytree(tmp_path / "run", run)
        how = mutate(run / "budgets" / "1e9", random)
        try:
            read = [(budget, digest(load_budget(run, budget, agent))) for budget in budgets(run)]  # pyright: ignore[reportArgumentType]
        except UserError:
            refused += 1
        else:
            # `budget.json`, which marks it as complete, may be missing.
            assert read in ([(kept, digest(params))], []), how
    assert refused > MUTATIONS // 8


def test_checkpoints_of_earlier_versions_open_and_unfinished_ones_do_not(
    saved: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for bare, step, whole in ((("1", "2"), 2, True), (("1",), 2, True), (("2",), 1, False)):
        run = tmp_path / "".join(bare)
        shutil.copytree(saved, run)
        for name in bare:
            (run / "checkpoints" / name / checksums.FILE).unlink()
        assert digest(restored(run)) == digest(state_at(step))
        assert (capsys.readouterr().out == "") == whole


def test_damaged_ones_do_not_take_the_places_of_whole_ones(saved: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(saved, run)
    mutate(run / "checkpoints" / "2", np.random.default_rng(1))
    assert digest(restored(run)) == digest(state_at(1))
    save(run, state_at(3))
    assert sorted(path.name for path in (run / "checkpoints").iterdir()) == ["1", "3"]


def test_if_none_is_whole_none_is_removed(saved: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(saved, run)
    for name in ("1", "2"):
        (run / "checkpoints" / name / checksums.FILE).write_text("{")
    with pytest.raises(UserError, match=r"no checkpoint .* is whole"):
        restored(run)
    assert sorted(path.name for path in (run / "checkpoints").iterdir()) == ["1", "2"]


def test_a_full_disk_leaves_the_checkpoint_before_whole(small_disk: Callable[[str], Path]) -> None:
    disk = small_disk("400k")
    save(disk / "run", state_at(1))
    files = sorted(disk.rglob("*"))
    (disk / "filler").write_bytes(bytes(shutil.disk_usage(disk).free - 8192))
    with pytest.raises(UserError, match=r"no space left for .*checkpoints"):
        save(disk / "run", state_at(2))
    (disk / "filler").unlink()
    assert sorted(disk.rglob("*")) == files
    assert digest(restored(disk / "run")) == digest(state_at(1))
    save(disk / "run", state_at(2))
    assert digest(restored(disk / "run")) == digest(state_at(2))
