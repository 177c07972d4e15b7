"""What failures of a run mean for its next attempt."""

import dataclasses
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

from data.common.cli import UserError
from laws.design.runs import runs_of
from laws.sweep.failure import MOST, MOST_LOST, MOST_OF_A_HOST, kind_of, remedied, verdict
from tests.laws.sweep.sweeps import described
from train.failure.divergence import Diverged


def ended(*hows: str | None, progress: int = 0, **details) -> list[dict]:
    return [{"ended": how, "progress": progress, "message": f"about {how}", **details} for how in hows]


def test_kinds_of_failure() -> None:
    assert kind_of(Diverged("not finite")) == "diverged"
    assert kind_of(UserError("no such store")) == "refused"
    assert kind_of(MemoryError()) == "memory"
    assert kind_of(OSError("stale file handle")) == "machine"
    assert kind_of(ValueError("a bug")) == "error"


def test_an_allocation_that_fails_is_a_failure_of_memory() -> None:
    with pytest.raises(jax.errors.JaxRuntimeError) as caught:
        jax.block_until_ready(jax.jit(lambda: jnp.zeros((2**52,), jnp.uint8) + jnp.uint8(1))())
    assert kind_of(caught.value) == "memory"


def test_each_kind_is_tried_so_often() -> None:
    for kind, most in MOST.items():
        first = ended(*[kind] * (most - 1), host="node1")
        assert verdict(first, 0) is None
        assert verdict([*first, *ended(kind, host="node2")], 0) == f"{kind}: about {kind}"
    of_a_host = ended(*["machine"] * MOST_OF_A_HOST, host="node1")
    assert verdict(of_a_host[:-1], 0) is None, "that machine may be what is broken"
    assert verdict(of_a_host, 0) == "machine: about machine"
    assert verdict(ended("machine", "stopped", "error", "stopped", "memory", "diverged", host="node1"), 0) is None


def test_lost_workers_are_no_failure_while_there_is_progress() -> None:
    lost = [*ended(*[None] * (MOST_LOST - 1), progress=7)]
    assert verdict(lost, 7) is None
    assert "lost 20 times in a row at step 7" in str(verdict([*lost, *ended(None, progress=7)], 7))
    assert verdict([*lost, *ended(None, progress=7)], 8) is None
    assert verdict([*lost, *ended("stopped", None, progress=7)], 7) is None


def test_out_of_memory_halves_the_microbatch(store: Path) -> None:
    config = runs_of(described(store), Path("sweep"))[0].config
    assert remedied(config, ended("stopped", None, "machine")) == config
    changed = remedied(config, ended("memory", "stopped", "memory"))
    assert changed.microbatch == config.batch // 4
    assert changed.run == config.run
    assert remedied(config, ended(*["memory"] * 9)).microbatch == config.window
    # Less than what was tried: by itself a step takes no more than 16,384 samples at once.
    large = dataclasses.replace(config, lanes=262_144 // config.window)
    assert remedied(large, ended("memory")).microbatch == 8192
    assert remedied(dataclasses.replace(large, microbatch=4096), ended("memory")).microbatch == 2048


def test_a_run_that_diverged_gets_half_of_its_learning_rate_and_a_folder_of_its_own(store: Path) -> None:
    config = runs_of(described(store), Path("sweep"))[0].config
    first = remedied(config, ended("diverged", lr=0.02))
    assert first.optimizer.lr == 0.01
    assert first.run == config.run.with_name(f"{config.run.name}-lr0.01")
    second = remedied(config, [*ended("diverged", lr=0.02), *ended("diverged", lr=0.01)])
    assert second.optimizer.lr == 0.005
    low = remedied(config, ended("diverged", lr=1e-4))
    assert low.optimizer.final_lr == low.optimizer.lr == 5e-5
