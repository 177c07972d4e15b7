"""Several processes train as one does."""

import shutil
import time
from pathlib import Path

import numpy as np
import pytest

from tests.train.hosts.processes import Done, launch, options, wait
from train.hosts.agree import LAG
from train.metrics import read_metrics

pytestmark = pytest.mark.slow

STOP = 40


def losses(run: Path) -> dict[float, float]:
    return {row["step"]: row["loss"] for row in read_metrics(run)}


def checkpoints(run: Path) -> list[int]:
    return sorted(int(path.name) for path in (run / "checkpoints").iterdir() if path.name.isdigit())


def damage(folder: Path) -> None:
    """Flip a bit of a checkpoint's largest file."""
    path = max((path for path in folder.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def expect(done: list[Done], *codes: int) -> None:
    assert [process.code for process in done] == list(codes), "\n".join(process.said for process in done)


@pytest.fixture(scope="module")
def alone(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of one process with one device."""
    folder = tmp_path_factory.mktemp("alone")
    expect(wait(launch(options(store, folder / "run"), folder, 1)), 0)
    assert len(losses(folder / "run")) >= 100
    return folder / "run"


def test_begun_by_two_refused_to_others_stopped_by_one_resumed_by_one_and_four(
    store: Path, alone: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    words = options(store, run, "--checkpoint-seconds", "0")
    running = launch(words, tmp_path, 2, ("interrupt after waiting", STOP, 1))
    while not (tmp_path / "reached").exists():
        assert all(process.poll() is None for process in running), wait(running)
        time.sleep(0.1)
    for count in (1, 2):
        second = wait(launch(options(store, run), tmp_path, count))
        expect(second, *[2] * count)
        assert all(f"is being trained by process {running[0].pid}" in process.said for process in second)
    (tmp_path / "go").touch()
    expect(wait(running), 130, 130)
    # The signal came before the vote after step STOP + 1; with checkpoints all the time, votes start anew after each.
    newest = checkpoints(run)[-1]
    assert STOP < newest <= STOP + 2 * (LAG + 1)
    for count in (1, 4):
        copy = tmp_path / str(count)
        shutil.copytree(run, copy)
        if count == 4:
            damage(copy / "checkpoints" / str(newest))
        done = wait(launch(options(store, copy), tmp_path, count))
        expect(done, *[0] * count)
        assert (f"{newest} is damaged or unfinished and left out" in done[0].said) == (count == 4)
        assert losses(copy).keys() == losses(alone).keys()
        np.testing.assert_allclose(list(losses(copy).values()), list(losses(alone).values()), rtol=1e-5)


def test_four_learn_what_one_learns(store: Path, alone: Path, tmp_path: Path) -> None:
    blocks = options(store, tmp_path / "run", "--log-every", "5", "--dev-every", "never", "--steps-per-dispatch", "5")
    expect(wait(launch(blocks, tmp_path, 4)), 0, 0, 0, 0)
    found, expected = losses(tmp_path / "run"), losses(alone)
    assert len(found) == -(-len(expected) // 5)
    for step, loss in found.items():
        of_row = [expected[before] for before in range(5 * (int(step - 1) // 5) + 1, int(step) + 1)]
        assert loss == pytest.approx(np.mean(of_row), rel=1e-5)


@pytest.mark.parametrize(
    ("event", "process", "codes"),
    [("refuse", 1, (1, 2)), ("kill", 1, (1, -9)), ("kill", 0, (-9, 1))],
)
def test_if_one_fails_all_end(store: Path, tmp_path: Path, event: str, process: int, codes: tuple[int, int]) -> None:
    words = options(store, tmp_path / "run", "--heartbeat-timeout", "10")
    done = wait(launch(words, tmp_path, 2, (event, 20, process)))
    # JAX aborts those that are not at a collective.
    assert done[process].code == codes[process], done
    assert done[1 - process].code in (codes[1 - process], -6), done


def test_processes_with_other_options_are_refused(store: Path, tmp_path: Path) -> None:
    started = launch(options(store, tmp_path / "run"), tmp_path, 2, more=[[], ["--data-seed", "1"]])
    done = wait(started)
    expect(done, 2, 2)
    assert all("processes differ in data_seed" in process.said for process in done)
    assert not (tmp_path / "run").exists()


def test_a_population_begun_by_two_and_killed_goes_on_in_one(store: Path, tmp_path: Path) -> None:
    words = ("--population", "lr=1e-3,3e-3")
    often = (*words, "--checkpoint-seconds", "0", "--heartbeat-timeout", "10")
    done = wait(launch(options(store, tmp_path / "run", *often), tmp_path, 2, ("kill", STOP, 1)))
    assert done[1].code == -9, done
    expect(wait(launch(options(store, tmp_path / "run", *words), tmp_path, 1)), 0)
    expect(wait(launch(options(store, tmp_path / "one", *words), tmp_path, 1)), 0)
    for member in ("lr=0.001", "lr=0.003"):
        found, expected = (losses(tmp_path / run / member) for run in ("run", "one"))
        assert found.keys() == expected.keys()
        np.testing.assert_allclose(list(found.values()), list(expected.values()), rtol=1e-5)
