import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from data.store.reader import TrajectoryStore
from tests.data.importers.recordings import ttyrec3, write

HERE = Path(__file__).resolve().parents[2]
NAME = "nle.1.0.ttyrec3.bz2"


def start(*arguments: object, **environment: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "data", *map(str, arguments)]
    options: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, cwd=HERE, env=os.environ | environment, start_new_session=True, **options)


def run(*arguments: object) -> tuple[int, str, str]:
    process = start(*arguments)
    out, err = process.communicate()
    return process.returncode, out, err


@pytest.fixture
def games(tmp_path: Path) -> Path:
    names = {f"nle.1.{number}.ttyrec3.bz2": ttyrec3(b"hjkl" * 30 * (number + 1)) for number in range(6)}
    return write(tmp_path / "games", names)


@pytest.fixture
def store(games: Path, tmp_path: Path) -> Path:
    path = tmp_path / "store"
    code, out, err = run("import", "nld", games, path, "--expert", "someone", "--workers", 1)
    assert code == 0, err
    assert "imported 6 games, 2,520 steps" in out
    return path


def test_a_store_is_imported_shown_and_verified(store: Path) -> None:
    code, page, err = run("info", store)
    assert (code, err) == (0, "")
    for text in ("someone", "2,520", "mon-hum-neu-mal", "killed by a newt", "bytes per step", "train", "dev"):
        assert text in page, text
    assert max(map(len, page.splitlines())) < 120
    code, out, err = run("verify", store)
    assert (code, out, err) == (0, f"{store} is whole\n", "")


def test_scores_are_drawn(store: Path, tmp_path: Path) -> None:
    code, out, err = run("info", store, "--png", tmp_path / "scores.png")
    assert code == 0, err
    assert "percentile" in out
    with Image.open(tmp_path / "scores.png") as image:
        assert image.size == (1350, 540)
        assert len(np.unique(np.asarray(image.convert("L")))) > 20
    assert not list(tmp_path.glob("*.partial"))


def test_listings_are_also_json(store: Path) -> None:
    code, out, _ = run("info", store, "--json")
    told, manifest = json.loads(out), json.loads((store / "manifest.json").read_text())
    assert code == 0
    assert told["split"] == manifest["split"]
    assert sum(told["actions"].values()) == told["steps"] == manifest["steps"]
    assert sum(told["characters"].values()) == sum(told["ends"].values()) == told["episodes"]
    assert told["percentiles"]["length"]["0"] <= told["percentiles"]["length"]["mean"]
    assert json.loads(run("verify", store, "--json")[1]) == []
    shard = store / manifest["shards"][0]["name"]
    shard.write_bytes(shard.read_bytes()[:-1])
    code, out, _ = run("verify", store, "--json")
    assert code == 1
    assert any(shard.name in fault for fault in json.loads(out))


def test_verify_exits_with_one_and_names_the_damage(store: Path) -> None:
    episode = TrajectoryStore.open(store).episodes[2]
    [record, *_] = TrajectoryStore.open(store).records(2)
    shard = store / "shard-00000.array_record"
    content = bytearray(shard.read_bytes())
    content[content.index(record) + 60] ^= 1
    shard.write_bytes(content)
    code, out, _ = run("verify", store)
    assert code == 1
    assert str(shard) in out
    assert episode.id in out


def test_strict_makes_damage_an_exit_code(games: Path, tmp_path: Path) -> None:
    damaged = games / "nle.1.3.ttyrec3.bz2"
    damaged.write_bytes(damaged.read_bytes()[:-5])
    (games / "nle.1.9.ttyrec3.bz2").write_bytes(b"")
    for number, (options, expected) in enumerate([((), 0), (("--strict",), 1)]):
        code, out, _ = run("import", "nld", games, tmp_path / f"store{number}", "--workers", 1, *options)
        assert code == expected
        assert f"{damaged.name}: damaged: cut short" in out
        assert "nle.1.9.ttyrec3.bz2: empty" in out
        assert "imported 5 games" in out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("import", "nld", "nowhere", "store"), "error: no folder nowhere"),
        (("info", "nowhere"), "error: no store at nowhere"),
        (("verify", "nowhere"), "error: no store at nowhere"),
        (("verify", "."), "error: . is not a store"),
        (("import", "nld", ".", "tests"), "error: tests holds other files and no store"),
        (("import", "nld", "tests", "nowhere", "--dev-fraction", "2"), "error: dev fraction 2.0"),
        (("import", "nld", "tests", "nowhere"), "error: no recording"),
    ],
)
def test_a_mistake_is_one_line(arguments: tuple[str, ...], said: str) -> None:
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    assert err.startswith(said)
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ("info", "store", "--colour"),
        ("import", "nld", "a", "b", "--exprt", "x"),
        ("import", "nld", "a", "b", "--workers", "many"),
        ("import", "nld", "a"),
        ("import", "samplers", "a", "b"),
        ("import",),
        ("explode",),
        (),
    ],
)
def test_a_wrong_option_is_an_error(arguments: tuple[str, ...]) -> None:
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    assert err
    assert "Traceback" not in err


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def wait_for(condition: Callable[[], object], seconds: float = 600) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    names = {f"nle.1.{number}.ttyrec3.bz2": ttyrec3(b"hjkl" * (200 + number)) for number in range(40)}
    return write(tmp_path_factory.mktemp("many"), names)


WAIT = """
import pathlib, time
gate, read = pathlib.Path({gate!r}), pathlib.Path.read_bytes
def read_bytes(path):
    while path.name == "nle.1.30.ttyrec3.bz2" and not gate.exists():
        time.sleep(0.01)
    return read(path)
pathlib.Path.read_bytes = read_bytes
"""
"""What Python runs as it starts (sitecustomize): reading one of the games waits for the gate."""


def stopped(many: Path, path: Path, how: signal.Signals) -> tuple[subprocess.Popen[str], list[int]]:
    """An import that can't end, stopped once it has written something, and its processes."""
    startup, gate = path.with_name("startup"), path.with_name("gate")
    startup.mkdir()
    (startup / "sitecustomize.py").write_text(WAIT.format(gate=str(gate)))
    process = start("import", "nld", many, path, "--workers", 2, PYTHONPATH=str(startup))
    shard = path / "shard-00000.array_record"
    wait_for(lambda: shard.exists() or process.poll() is not None)
    assert process.poll() is None
    workers = children(process.pid)
    # A terminal sends Ctrl-C to every process of the command, others signal the one they know.
    os.killpg(process.pid, how) if how == signal.SIGINT else process.send_signal(how)
    gate.touch()
    return process, workers


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_an_import_goes_on_where_it_was_interrupted(many: Path, tmp_path: Path, how: signal.Signals) -> None:
    path = tmp_path / "store"
    process, _ = stopped(many, path, how)
    _, err = process.communicate(timeout=600)
    assert process.returncode == 128 + how, err
    assert err == "interrupted: start the same command again to go on\n"
    assert run("info", path)[2].startswith(f"error: {path} is not a store: its import was not finished")
    code, out, err = run("import", "nld", many, path, "--workers", 2)
    assert code == 0, err
    added, known = (int(number) for number in re.findall(r"imported (\d+) games, .*; (\d+) were in the store", out)[0])
    assert known > 0
    assert added + known == 40
    assert run("verify", path)[0] == 0
    assert "imported 0 games, 0 steps; 40 were in the store" in run("import", "nld", many, path, "--workers", 2)[1]


@pytest.mark.slow
def test_after_a_kill_the_next_import_does_all(many: Path, tmp_path: Path) -> None:
    path = tmp_path / "store"
    process, workers = stopped(many, path, signal.SIGKILL)
    process.communicate(timeout=600)
    assert process.returncode == -signal.SIGKILL
    assert len(workers) >= 2
    wait_for(lambda: not any(Path(f"/proc/{worker}").exists() for worker in workers))
    assert run("info", path)[2].startswith(f"error: {path} is not a store")
    code, out, err = run("import", "nld", many, path, "--workers", 2)
    assert code == 0, err
    assert "imported 40 games" in out
    assert run("verify", path)[0] == 0


def test_more_games_are_imported_into_a_store(many: Path, store: Path) -> None:
    code, out, err = run("import", "nld", many, store, "--workers", 2)
    assert code == 0, err
    assert "imported 40 games" in out
    code, out, _ = run("info", store)
    assert "added 40" in out
    assert run("import", "nld", many, store, "--expert", "another")[0] == 2


def test_a_reader_that_has_seen_enough_is_no_error(store: Path) -> None:
    process = start("info", store)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    assert process.stderr.read() == ""
    process.stderr.close()
    assert process.wait(timeout=600) == 128 + signal.SIGPIPE


def test_looking_at_a_store_does_not_load_jax(store: Path) -> None:
    script = f"import sys, data.__main__ as m; m.info(__import__('pathlib').Path({str(store)!r}))();"
    script += "sys.exit('jax' in sys.modules)"
    environment = os.environ | {"PYTHONPATH": str(HERE)}
    assert subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True).returncode == 0


def test_played_games_become_a_store(tmp_path: Path) -> None:
    games, store = tmp_path / "games", tmp_path / "store"
    options = ("--episodes", 2, "--workers", 1, "--seed", 5, "--player", "random", "--max-steps", 50)
    code, out, err = run("collect", "nethack", games, *options)
    assert code == 0, err
    assert out.startswith("2 games")
    code, out, err = run("import", "nld", games, store, "--strict", "--workers", 1)
    *_, imported, following = out.splitlines()
    assert (code, imported.startswith("imported 2 games")) == (0, True), out + err
    assert following == f"next: python -m data info {store}"
    episodes = TrajectoryStore.open(store).episodes
    assert len({row.seed for row in episodes} - {None}) == 2
    assert {row.role for row in episodes} == {"mon-hum-neu-mal"}
