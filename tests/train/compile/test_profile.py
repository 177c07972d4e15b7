"""A trace is written and changes nothing else."""

from pathlib import Path

import pytest

from tests.train.runs import config
from train.checkpoint import budgets
from train.compile.profile import AFTER, CALLS
from train.loop import train


@pytest.mark.slow
@pytest.mark.parametrize("steps", [AFTER - 1, AFTER + 2, AFTER + CALLS + 2])
def test_a_profiled_run_is_the_same(steps: int, store: Path, tmp_path: Path) -> None:
    """Of a run that ends before the trace would, the steps there are."""
    for name, profile in (("plain", False), ("profiled", True)):
        train(
            config(store, tmp_path / name, (steps,), profile=profile, steps_per_dispatch=1, dev_every="never"),
            progress=False,
        )
    assert budgets(tmp_path / "profiled") == budgets(tmp_path / "plain")
    traces = list((tmp_path / "profiled").glob("plugins/profile/*/*.xplane.pb"))
    assert len(traces) == (steps > AFTER)
    if traces:
        assert b"train" in traces[0].read_bytes()
    assert not (tmp_path / "plain" / "plugins").exists()
