"""What is measured of a step, and how rows become TensorBoard's scalars."""

from dataclasses import dataclass
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from agents.atari.agent import AtariAgent
from agents.atari.cnn import CNN
from data.sampling.sampler import LaneSampler
from data.sampling.stream import batches
from data.store.reader import TrajectoryStore
from train.config import Optimizer
from train.mesh import make_mesh, over_lanes, put
from train.metrics import MetricsWriter, read_metrics, training_seconds
from train.optimizer import bc_optimizer
from train.state import init_state
from train.step import make_train_step

LANES, WINDOW = 8, 6


@dataclass(frozen=True)
class Row:
    step: int
    samples: int
    flops: float
    loss: float
    dev_loss: float | None = None
    mfu: float = 0.5

    @property
    def summary(self) -> str:
        return ""


def row(step: int, **more: float) -> Row:
    return Row(step, 64 * step, 2e17 * step, 1 / step, **more)


def write(run: Path, start: int, rows: list[Row], axis: str) -> EventAccumulator:
    """What TensorBoard reads after a run was continued at step `start`."""
    writer = MetricsWriter(run, start, axis)
    for each in rows:
        writer.write(each)
    writer.close()
    events = EventAccumulator(str(run))
    events.Reload()
    return events


def test_fields_are_grouped_and_a_missing_value_leaves_a_gap(tmp_path: Path) -> None:
    events = write(tmp_path, 0, [row(5), row(8, dev_loss=2.0), row(10)], "step")
    assert set(events.Tags()["scalars"]) == {
        "train/samples", "train/flops", "train/loss", "dev/loss", "perf/mfu",
    }  # fmt: skip
    assert [event.step for event in events.Scalars("train/loss")] == [5, 8, 10]
    assert [(event.step, event.value) for event in events.Scalars("dev/loss")] == [(8, 2.0)]


@pytest.mark.parametrize(("axis", "expected"), [("samples", [64, 128, 192]), ("flops", [2e17, 4e17, 6e17])])
def test_a_resumed_run_has_each_row_once_on_whichever_axis(tmp_path: Path, axis: str, expected: list[float]) -> None:
    before = write(tmp_path, 0, [row(1), row(2), row(7)], "step").Scalars("train/loss")
    events = write(tmp_path, 2, [row(3)], axis)
    assert [each["step"] for each in read_metrics(tmp_path)] == [1, 2, 3]
    scalars = events.Scalars("train/loss")
    assert [event.step for event in scalars] == expected
    np.testing.assert_allclose([event.value for event in scalars], [1, 1 / 2, 1 / 3], rtol=1e-6)
    assert [event.wall_time for event in scalars[:2]] == [event.wall_time for event in before[:2]]


def test_rows_of_an_earlier_version_are_shown_in_the_groups(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text('{"step": 4, "samples": 256, "flops": 1e18, "loss": 0.5, "mfu": 0.25}\n')
    events = write(tmp_path, 4, [row(5)], "samples")
    assert [event.step for event in events.Scalars("train/loss")] == [256, 320]
    assert [event.value for event in events.Scalars("perf/mfu")] == [0.25, 0.5]


@pytest.mark.slow
@pytest.mark.parametrize(("im2col", "devices"), [(False, 1), (True, 1), (True, 8)])
def test_entropy_and_update_norm_are_those_of_the_batch(atari_store: Path, im2col: bool, devices: int) -> None:
    store, agent = TrajectoryStore.open(atari_store), AtariAgent("atari/cnn/2", CNN(2, 4), im2col=im2col)
    sampler = LaneSampler(store.lengths[store.rows("train")], LANES, WINDOW, seed=0)
    # The last batch of an epoch, which is padded.
    batch = next(batches(store, "train", LANES, WINDOW, seed=0, start=sampler.steps_per_epoch - 1))
    assert not batch.mask.all()
    params = jax.tree.map(lambda x: 2 * x, jax.jit(agent.init)(jax.random.key(0)))
    logits, _ = jax.jit(agent.apply)(params, batch.observation, batch.first, ())
    policy_N = np.exp(np.asarray(logits, np.float64))[batch.mask]
    policy_N /= policy_N.sum(-1, keepdims=True)
    mesh = make_mesh(devices=jax.devices()[:devices])
    optimizer = bc_optimizer(Optimizer(lr=0.01, warmup_samples=0), LANES * WINDOW, 100)
    step = make_train_step(agent, optimizer, average=0.0, dropout=0.0, seed=0, mesh=mesh)
    before = jax.device_get(params)
    state, metrics = step(init_state(params, optimizer), put(batch, over_lanes(mesh)))
    entropy = -(policy_N * np.log(policy_N)).sum(-1).mean()
    assert 0.1 < entropy < 0.95 * np.log(4)
    assert float(metrics.entropy) == pytest.approx(entropy, rel=1e-4)
    change = jax.tree.map(lambda a, b: np.square(np.asarray(a) - b).sum(), state.params, before)
    assert float(metrics.update_norm) == pytest.approx(float(np.sqrt(sum(jax.tree.leaves(change)))), rel=1e-3)
    assert metrics.entropy.dtype == metrics.update_norm.dtype == jnp.float32


def test_training_time_follows_the_branch_of_a_checkpoint() -> None:
    """10 samples a second on the trunk, 5 in the first budget's branch, 2 in the second's."""

    def piece(branch: float | None, samples: int, speed: float) -> dict[str, float | None]:
        return {"branch": branch, "samples": samples, "samples_per_s": speed}

    rows = [
        piece(None, 100, 10.0),
        piece(1e12, 150, 5.0),
        piece(None, 150, 10.0),
        piece(None, 300, 10.0),
        piece(2e12, 320, 2.0),
        piece(2e12, 340, 2.0),
    ]
    assert training_seconds(rows, 1e12, 150) == pytest.approx(10 + 10)
    assert training_seconds(rows, 2e12, 340) == pytest.approx(30 + 20)
    trunk = [row for row in rows if row["branch"] is None]
    assert training_seconds(trunk, 3e12, 225) == pytest.approx(22.5)
    assert training_seconds(trunk, 3e12, 301) is None
    assert training_seconds([], 3e12, 301) is None
