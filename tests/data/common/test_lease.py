"""One process holds a run's folder."""

import contextlib
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import asdict, replace
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest

from data.common import lease
from data.common.cli import UserError
from data.common.lease import FOLDER, SECONDS, Holder, held, refuse_if_held
from tests.train.hosts.processes import ROOT

PROCESSES, THREADS = 4, 50

HOLD = """
import sys, time
from pathlib import Path
from data.common import lease
if len(sys.argv) > 2:
    lease.SECONDS = float(sys.argv[2])
with lease.held(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


def holder(run: Path, *seconds: str) -> subprocess.Popen[str]:
    """A process that holds the lease of a run."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(run), *seconds],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    assert process.stdout.readline() == "held\n"
    return process


def leave(run: Path, who: Holder, number: int = 1) -> Path:
    """The lease of a process that no longer renews it."""
    path = run / FOLDER / str(number)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(asdict(who)))
    return path


def contend(run: Path, start: float, done: Barrier, owners: "multiprocessing.Queue[tuple[int, list[str]]]") -> None:
    """Start once per thread, at the same time; report how many hold the lease, and what unexpected refusals say."""
    held_by, refused, over = [], [], threading.Event()

    def one() -> None:
        time.sleep(max(0, start - time.time()))
        try:
            with held(run):
                held_by.append(1)
                over.wait()
        except UserError as error:
            refused.append(str(error))

    threads = [threading.Thread(target=one) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    while len(held_by) + len(refused) < THREADS:
        time.sleep(0.01)
    done.wait()
    owners.put((len(held_by), [why for why in refused if "is being trained by process" not in why]))
    over.set()


@pytest.mark.parametrize("dead", [False, True], ids=["in a new folder", "after a dead process"])
def test_of_200_simultaneous_starts_one_holds_the_lease(tmp_path: Path, dead: bool) -> None:
    if dead:
        leave(tmp_path, replace(Holder.me(), started="0"))
    context = multiprocessing.get_context("forkserver")
    start, done, owners = time.time() + 2, context.Barrier(PROCESSES), context.Queue()
    contenders = [context.Process(target=contend, args=(tmp_path, start, done, owners)) for _ in range(PROCESSES)]
    for contender in contenders:
        contender.start()
    counts, others = zip(*(owners.get() for _ in contenders), strict=True)
    for contender in contenders:
        contender.join()
        assert contender.exitcode == 0
    assert sum(counts) == 1
    assert not any(others)
    assert len(list((tmp_path / FOLDER).iterdir())) == 1


def test_a_run_that_is_being_trained_is_refused_by_name_until_its_process_dies(tmp_path: Path) -> None:
    process = holder(tmp_path)
    with pytest.raises(UserError, match=f"process {process.pid} on .*: stop that one first"), held(tmp_path):
        pass
    process.send_signal(signal.SIGKILL)
    process.communicate()
    with held(tmp_path):
        assert [path.name for path in (tmp_path / FOLDER).iterdir()] == ["2"]


def test_a_process_that_is_dead_but_not_reaped_holds_nothing(tmp_path: Path) -> None:
    process = holder(tmp_path)
    process.send_signal(signal.SIGKILL)
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    refuse_if_held(tmp_path)
    process.communicate()


def test_another_process_of_the_same_number_holds_nothing(tmp_path: Path) -> None:
    leave(tmp_path, replace(Holder.me(), started="1"))
    refuse_if_held(tmp_path)


def test_another_hosts_lease_lasts_a_minute(tmp_path: Path) -> None:
    path = leave(tmp_path, replace(Holder.me(), machine="another", host="far"))
    with pytest.raises(UserError, match=r"on far: .* start again in \d+ s"), held(tmp_path):
        pass
    past = time.time() - SECONDS - 1
    os.utime(path, (past, past))
    with held(tmp_path):
        pass


def test_a_lease_is_renewed(tmp_path: Path) -> None:
    process = holder(tmp_path, "0.4")
    path = tmp_path / FOLDER / "1"
    before = path.stat().st_mtime
    while path.stat().st_mtime == before:
        time.sleep(0.05)
    process.kill()
    process.communicate()


def test_a_released_lease_can_be_taken_at_once(tmp_path: Path) -> None:
    for _ in range(3):
        with held(tmp_path):
            pass


def test_a_process_whose_lease_was_taken_over_exits(tmp_path: Path) -> None:
    process = holder(tmp_path, "0.4")
    leave(tmp_path, Holder.me(), number=2)
    _, said = process.communicate()
    assert process.returncode == 1
    assert "taken over" in said
    assert said.count("\n") == 1


@pytest.mark.parametrize("times", [1, 2])
def test_a_start_that_is_overtaken_half_way_gives_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    """Others take the folder between its look at the lease and its own; the second time, its number is free again."""
    create = lease.create
    with contextlib.ExitStack() as stack:

        def late(path: Path, text: str) -> bool:
            monkeypatch.setattr(lease, "create", create)
            for _ in range(times - 1):
                with held(tmp_path):
                    pass
            stack.enter_context(held(tmp_path))
            return create(path, text)

        monkeypatch.setattr(lease, "create", late)
        with pytest.raises(UserError, match="is being trained"), held(tmp_path):
            pass
        assert [path.name for path in (tmp_path / FOLDER).iterdir()] == [str(times)]


def test_a_listing_that_is_older_than_its_files_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As NFS lists a lease for a while that another host has replaced."""
    listings = iter([1] * 5)
    newest = lease._newest
    leave(tmp_path, replace(Holder.me(), pid=1, started="never"), number=2)
    monkeypatch.setattr(lease, "_newest", lambda folder: next(listings, newest(folder)))
    assert refuse_if_held(tmp_path) == 2
    assert next(listings, None) is None, "the older listing was seen"
