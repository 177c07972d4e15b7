"""Reinforcement learning: PPO's parts against plain ones, and runs that are functions of what they were told."""

import ast
import dataclasses
import functools
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from jax.sharding import AxisType, Mesh
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from agents.atari.im2col import blocks_of
from data.common.cli import UserError
from data.experts.trained import nature, policies
from data.games.arcade import Arcade
from data.spec import STACK
from train.checkpoint import digest
from train.mesh import replicated
from train.metrics import RlRow, read_metrics
from train.rl.actorcritic import actor_critic, make_network
from train.rl.config import Ppo, RlConfig
from train.rl.loop import make_mesh, open_tables, parts, train_expert
from train.rl.ppo import (
    RlState,
    Rollout,
    Samples,
    advantages,
    init_state,
    make_optimizer,
    make_update,
    objective,
    stacked,
)
from train.rl.rollout import Table, make_act, play

ROOT = Path(__file__).resolve().parents[2]
TINY = Ppo(horizon=16, epochs=2, minibatches=2, lr=2e-3)
LANES, UPDATES = 2, 8
BATCH = LANES * TINY.horizon


@pytest.fixture(autouse=True)
def _optax_promotes():
    """Optax's bias correction raises a float to an integer power, which strict promotion refuses."""
    with jax.numpy_dtype_promotion("standard"):
        yield


def config(run: Path, **changes: Any) -> RlConfig:
    told: dict[str, Any] = {"game": "Breakout", "lanes": LANES, "ppo": TINY, "log_every": 4, "threads": 1}
    return RlConfig(run=run, steps=UPDATES * BATCH, **(told | changes))


def mesh_of(devices: int) -> Mesh:
    return jax.make_mesh((devices,), ("data",), (AxisType.Auto,), devices=jax.devices()[:devices])


def random_params(actions: int = 4) -> nature.Params:
    """Parameters whose logits differ."""
    params = nature.init(jax.random.key(0), actions)
    return params | {"actor": {**params["actor"], "kernel": params["actor"]["kernel"] * 50}}


# Advantages.

estimate = jax.jit(advantages)
PLAYED = 3, 8


@given(
    arrays(np.float32, PLAYED, elements=st.floats(-1, 1, width=32)),
    arrays(bool, PLAYED),
    arrays(np.float32, (PLAYED[0], PLAYED[1] + 1), elements=st.floats(-10, 10, width=32)),
    st.floats(0, 1),
    st.floats(0, 1),
)
def test_advantages_are_those_of_a_plain_loop(
    reward: np.ndarray, over: np.ndarray, value: np.ndarray, gamma: float, gae_lambda: float
) -> None:
    wanted = np.zeros(PLAYED)
    for lane in range(PLAYED[0]):
        later = 0.0
        for step in reversed(range(PLAYED[1])):
            goes_on = 0.0 if over[lane, step] else 1.0
            error = reward[lane, step] + gamma * goes_on * value[lane, step + 1] - value[lane, step]
            later = error + gamma * gae_lambda * goes_on * later
            wanted[lane, step] = later
    found = estimate(reward, over, value, gamma, gae_lambda)
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4)


# The objective, of a network that looks at nothing: parameters are its logits and its value.


def blind(params: Any, blocks: jax.Array) -> tuple[jax.Array, jax.Array]:
    return (
        jnp.broadcast_to(params["logits"][None], (len(blocks), len(params["logits"]))),
        jnp.broadcast_to(params["value"], len(blocks)),
    )


def blind_params(logits: list[float]) -> Any:
    return {"logits": jnp.array(logits, jnp.float32), "value": jnp.float32(0)}


def samples(action: list[int], log_prob: list[float], advantage: list[float]) -> Samples:
    return Samples(
        blocks=jnp.zeros((len(action), 1), jnp.uint8),
        action=jnp.array(action, jnp.int32),
        log_prob=jnp.array(log_prob, jnp.float32),
        advantage=jnp.array(advantage, jnp.float32),
        target=jnp.zeros(len(action), jnp.float32),
    )


def slope(of: Samples, logits: list[float], **changes: float) -> np.ndarray:
    """The objective's gradient in the logits; without the entropy bonus unless it is asked for."""
    ppo = dataclasses.replace(TINY, **({"entropy": 0.0} | changes))
    grads, _ = jax.grad(objective, argnums=1, has_aux=True)(blind, blind_params(logits), of, ppo)
    return np.asarray(grads["logits"])


HALF = float(np.log(0.5))


def test_without_an_advantage_only_entropy_moves_the_policy() -> None:
    for advantage in ([0.0, 0.0], [3.0, 3.0]):
        even = samples([0, 1], [HALF, HALF], advantage)
        np.testing.assert_allclose(slope(even, [1.0, 0.0]), 0, atol=1e-6)
        # Downhill is towards the even policy.
        towards = slope(even, [1.0, 0.0], entropy=0.01)
        assert towards[0] > 1e-4
        assert towards[1] == pytest.approx(-towards[0], rel=1e-4)


def test_the_better_action_becomes_likelier() -> None:
    assert slope(samples([0, 1], [HALF, HALF], [1.0, -1.0]), [0.0, 0.0])[0] < -0.1


@pytest.mark.parametrize(
    ("was", "advantage", "moves"),
    [
        (0.5 / 1.05, [1.0, -1.0], True),
        (0.5 / 1.2, [1.0, -1.0], False),
        (0.5 / 0.8, [-1.0, 1.0], False),
        # A move in the wrong direction is taken back, however far it was.
        (0.5 / 1.2, [-1.0, 1.0], True),
        (0.5 / 0.8, [1.0, -1.0], True),
    ],
)
def test_moves_beyond_the_clip_are_not_rewarded(was: float, advantage: list[float], moves: bool) -> None:
    """Both actions have a probability of 0.5 now; the first had `was`, and the second is far beyond the clip."""
    beyond = 0.5 / 3 if advantage[1] > 0 else 0.5 * 3
    of = samples([0, 1], [float(np.log(was)), float(np.log(beyond))], advantage)
    assert (np.abs(slope(of, [0.0, 0.0])).max() > 1e-3) == moves


def test_what_is_told_of_the_first_step_is_that_nothing_has_moved() -> None:
    of = samples([0, 1], [HALF, HALF], [1.0, -1.0])
    _, (policy_loss, _, entropy, approx_kl, clip_fraction) = objective(blind, blind_params([0.0, 0.0]), of, TINY)
    assert float(policy_loss) == pytest.approx(0, abs=1e-6)
    assert float(entropy) == pytest.approx(np.log(2))
    assert (float(approx_kl), float(clip_fraction)) == (0.0, 0.0)


# The network and its frames.


def test_the_network_is_the_experts_whatever_computes_it() -> None:
    params = random_params()
    stacks = jax.random.randint(jax.random.key(1), (6, 84, 84, STACK), 0, 256, jnp.int32).astype(jnp.uint8)
    blocks = blocks_of(jnp.moveaxis(stacks, -1, 1), jnp.zeros((6, 1), jnp.int32))

    def told(apply: Any, given: jax.Array) -> Any:
        def total(params: nature.Params) -> tuple[jax.Array, Any]:
            logits, value = apply(params, given)
            return jax.nn.log_softmax(logits)[:, 0].sum() + jnp.square(value).sum(), (logits, value)

        return jax.jit(jax.grad(total, has_aux=True))(params)

    wanted = told(nature.apply, stacks)
    for way in (functools.partial(actor_critic, im2col=False), make_network(mesh_of(2))):
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-3), told(way, blocks), wanted)


@pytest.fixture(scope="module")
def played() -> tuple[np.ndarray, np.ndarray]:
    """500 steps of random play on two lanes: stacks [B, T, 84, 84, 4] and first steps [B, T]."""
    arcade, random = Arcade("Breakout", 2), np.random.default_rng(0)
    stacks, first, told = arcade.reset(np.array([3, 4])), np.ones(2, bool), []
    for _ in range(500):
        told.append((stacks, first))
        stacks, _, first = arcade.step(random.integers(4, size=2))
    stacks, first = (np.stack(column, axis=1) for column in zip(*told, strict=True))
    return stacks, first


@pytest.mark.parametrize("start", [0, 1, 100])
def test_stacks_come_back_from_single_frames(played: tuple[np.ndarray, np.ndarray], start: int) -> None:
    stacks, first = (column[:, start:] for column in played)
    assert first[:, 5:].any(axis=1).all(), "no game ended"
    older, newest = stacks[:, 0, ..., :-1], stacks[..., -1]
    frames = jnp.concatenate([jnp.moveaxis(jnp.asarray(older), -1, 1), jnp.asarray(newest)], axis=1)
    flat = jnp.moveaxis(jnp.asarray(stacks.reshape(-1, 84, 84, STACK)), -1, 1)
    wanted = blocks_of(flat, jnp.zeros((len(flat), 1), jnp.int32))
    np.testing.assert_array_equal(stacked(frames, jnp.asarray(first)), wanted)


# Playing.


def sat_down(lanes: int, game: str = "Breakout", *, life_loss: bool = True) -> list[Table]:
    mesh = mesh_of(1)
    act = make_act(make_network(mesh), mesh)
    return [Table(game, np.array([lane]), act, threads=1, life_loss=life_loss) for lane in range(lanes)]


def test_a_rollout_is_what_was_played() -> None:
    params, tables = random_params(), sat_down(2)
    look = jax.jit(functools.partial(actor_critic, im2col=True))
    rollouts = [play(tables, params, jax.random.key(number), 60)[0] for number in range(2)]
    for rollout in rollouts:
        assert rollout.frames.shape == (2, STACK - 1 + 60, 84, 84)
        assert not np.array_equal(*rollout.action)
        # The critic and the policy say of the rebuilt stacks what they said as they saw them.
        blocks = stacked(jnp.asarray(rollout.frames), jnp.asarray(rollout.first))
        logits, value = look(params, blocks)
        np.testing.assert_allclose(value.reshape(2, 60), rollout.value[:, :-1], rtol=1e-3, atol=1e-4)
        log_probs = jax.nn.log_softmax(logits).reshape(2, 60, -1)
        chosen = jnp.take_along_axis(log_probs, jnp.asarray(rollout.action)[:, :, None], axis=-1)[..., 0]
        np.testing.assert_allclose(chosen, rollout.log_prob, rtol=1e-3, atol=1e-4)
    one, other = rollouts
    np.testing.assert_array_equal(one.frames[:, -2:], other.frames[:, 1:3])
    np.testing.assert_allclose(one.value[:, -1], other.value[:, 0], rtol=1e-6)
    assert one.first[:, 0].all()
    assert not other.first[:, 0].any()


@pytest.mark.parametrize("life_loss", [True, False])
def test_a_lost_life_is_an_end_where_that_is_asked_for(life_loss: bool) -> None:
    """Games of Q*bert, whose rewards are 25 points and more, of four lives each."""
    steps = 1000
    [table] = sat_down(1, "Qbert", life_loss=life_loss)
    rollout, finished = play([table], random_params(6), jax.random.key(0), steps)
    lengths = np.array([game.length for game in finished])
    assert len(lengths) >= 2
    ends = np.cumsum(lengths) - 1
    np.testing.assert_array_equal(np.flatnonzero(rollout.first[0]), [0, *ends[ends < steps - 1] + 1])
    assert rollout.over[0, ends].all()
    assert rollout.over[0, : ends[-1] + 1].sum() == (4 if life_loss else 1) * len(ends)
    assert set(np.unique(rollout.reward)) == {0.0, 1.0}
    for game, clipped in zip(finished, np.split(rollout.reward[0], ends + 1), strict=False):
        assert game.score >= 25 * clipped.sum() > 0
        assert game.score % 25 == 0


def test_games_are_a_function_of_the_seed_and_of_the_update_that_they_begin_at(tmp_path: Path) -> None:
    params, mesh = random_params(), mesh_of(1)
    act = make_act(make_network(mesh), mesh)

    def shown(seed: int, start: int) -> bytes:
        tables = open_tables(config(tmp_path, seed=seed), start, act)
        return play(tables, params, jax.random.key(0), 30)[0].frames.tobytes()

    assert shown(0, 0) == shown(0, 0)
    assert len({shown(0, 0), shown(0, 1), shown(1, 0)}) == 3


# Learning.


def bandit(action: np.ndarray, log_prob: np.ndarray, bright: np.ndarray) -> Rollout:
    """Steps that are games of their own, on a bright or a dark screen; the right key is 1 on a bright one, else 0."""
    lanes, steps = action.shape
    frames = np.zeros((lanes, STACK - 1 + steps, 84, 84), np.uint8)
    frames[:, STACK - 1 :] = np.where(bright, 200, 20)[..., None, None]
    return Rollout(
        frames=frames,
        first=np.ones((lanes, steps), bool),
        action=action.astype(np.int32),
        log_prob=log_prob.astype(np.float32),
        value=np.zeros((lanes, steps + 1), np.float32),
        reward=np.where(action == bright, 1, -1).astype(np.float32),
        over=np.ones((lanes, steps), bool),
    )


def test_updates_learn_what_pays_from_what_is_seen(tmp_path: Path) -> None:
    mesh = make_mesh(parts(config(tmp_path)))
    assert mesh.size == 2
    network = make_network(mesh)
    update, look = make_update(TINY, UPDATES, network, mesh), jax.jit(network)
    state = jax.device_put(init_state(TINY, UPDATES, 4, jax.random.key(0)), replicated(mesh))
    random, losses, right = np.random.default_rng(0), [], []
    shape = (LANES, TINY.horizon)
    for _ in range(UPDATES):
        bright = random.random(shape) < 0.5
        seen = bandit(np.zeros(shape), np.zeros(shape), bright)
        logits, _ = look(state.params, stacked(jnp.asarray(seen.frames), jnp.asarray(seen.first)))
        log_probs = np.asarray(jax.nn.log_softmax(logits)).reshape(*shape, 4)
        action = np.argmax(log_probs + random.gumbel(size=log_probs.shape), axis=-1)
        chosen = np.take_along_axis(log_probs, action[..., None], axis=-1)[..., 0]
        state, metrics = update(state, bandit(action, chosen, bright), jax.random.key(1))
        losses.append(float(metrics.value_loss))
        right.append(float(np.exp(np.where(bright, log_probs[..., 1], log_probs[..., 0])).mean()))
    assert int(state.update) == UPDATES
    assert right[0] == pytest.approx(0.25, abs=0.05)
    assert right[-1] > 0.5
    assert losses[-1] < losses[0]


def test_the_learning_rate_falls_to_nothing() -> None:
    ppo = dataclasses.replace(TINY, max_grad_norm=1e9)
    optimizer, params = make_optimizer(ppo, 3), jnp.zeros(2)
    state, sizes = optimizer.init(params), []
    for _ in range(3 * ppo.epochs * ppo.minibatches + 1):
        changes, state = optimizer.update(jnp.ones(2), state, params)
        sizes.append(float(-jnp.asarray(changes)[0]))
    np.testing.assert_allclose(sizes, np.linspace(ppo.lr, 0, len(sizes)), rtol=1e-3, atol=1e-9)


def test_minibatches_are_a_function_of_the_key_and_the_update() -> None:
    """Of a network that looks at nothing: what an update learns hangs on how its samples were divided."""
    mesh, ppo = mesh_of(1), dataclasses.replace(TINY, epochs=1, entropy=0.0)
    random, shape = np.random.default_rng(0), (LANES, TINY.horizon)
    action = random.integers(2, size=shape)
    rollout = bandit(action, np.full(shape, HALF), random.random(shape) < 0.5)
    update = make_update(ppo, 8, blind, mesh)

    def learned(number: int, seed: int) -> bytes:
        params = blind_params([0.0, 0.0])
        state = RlState(jnp.int32(number), params, make_optimizer(ppo, 8).init(params))
        return np.asarray(update(state, rollout, jax.random.key(seed))[0].params["logits"]).tobytes()

    assert learned(0, 0) == learned(0, 0)
    assert len({learned(0, 0), learned(1, 0), learned(0, 1)}) == 3


# Runs.


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> RlConfig:
    done = config(tmp_path_factory.mktemp("rl") / "run", checkpoint_seconds=0)
    with jax.numpy_dtype_promotion("standard"):
        train_expert(done, progress=False)
    return done


def learned(run: Path) -> str:
    return digest(policies.load(run, "Breakout").weights)


def told(run: Path) -> list[dict[str, Any]]:
    """The metrics that are no times."""
    return [{k: v for k, v in row.items() if k not in ("steps_per_s", "playing")} for row in read_metrics(run)]


def test_a_run_leaves_what_the_docstrings_name(trained: RlConfig) -> None:
    described = json.loads((trained.run / "config.json").read_text())
    assert (described["kind"], described["game"]) == ("ppo", "Breakout")
    assert described["actions"] == ["NOOP", "FIRE", "RIGHT", "LEFT"]
    assert {"version", "jax", "device", "config"} <= set(described)
    policy = policies.load(trained.run, "Breakout")
    assert (policy.network, policy.actions) == ("nature", tuple(described["actions"]))
    rows = read_metrics(trained.run)
    assert [row["step"] for row in rows] == [4 * BATCH, 8 * BATCH]
    assert set(rows[0]) == {field.name for field in dataclasses.fields(RlRow)}
    assert rows[0]["episode_return"] is None
    assert rows[0]["lr"] == pytest.approx(TINY.lr / 2)
    assert all(0 < row["playing"] < 1 and row["entropy"] <= np.log(4) + 1e-6 for row in rows)
    events = EventAccumulator(str(trained.run))
    events.Reload()
    assert set(events.Tags()["scalars"]) == set(rows[0]) - {"step", "episode_return", "episode_length"}
    assert [event.step for event in events.Scalars("entropy")] == [row["step"] for row in rows]
    assert sorted(path.name for path in trained.run.iterdir() if path.name.startswith(".")) == []


def test_a_run_is_a_function_of_its_configuration(trained: RlConfig, tmp_path: Path) -> None:
    again = dataclasses.replace(trained, run=tmp_path / "again", threads=2, checkpoint_seconds=60)
    train_expert(again, progress=False)
    assert learned(again.run) == learned(trained.run)
    assert told(again.run) == told(trained.run)
    other = dataclasses.replace(trained, run=tmp_path / "other", seed=1)
    train_expert(other, progress=False)
    assert learned(other.run) != learned(trained.run)


def test_training_again_changes_nothing(trained: RlConfig) -> None:
    before, rows = learned(trained.run), read_metrics(trained.run)
    train_expert(trained, progress=False)
    assert learned(trained.run) == before
    assert read_metrics(trained.run) == rows


def test_a_run_goes_on_where_it_was_and_the_same_way_each_time(trained: RlConfig, tmp_path: Path) -> None:
    """Taken back to its checkpoint of update 7 of 8, as if it had been killed after it."""
    for run in (tmp_path / "a", tmp_path / "b"):
        shutil.copytree(trained.run, run)
        shutil.rmtree(run / "checkpoints" / "8")
        train_expert(dataclasses.replace(trained, run=run), progress=False)
        assert [row["step"] for row in read_metrics(run)] == [4 * BATCH, 8 * BATCH]
    assert learned(tmp_path / "a") == learned(tmp_path / "b")
    # New games begin, so it isn't the run that never was interrupted.
    assert learned(tmp_path / "a") != learned(trained.run)
    assert told(tmp_path / "a")[0] == told(trained.run)[0]


def test_interrupted_it_keeps_what_it_did(tmp_path: Path) -> None:
    run = tmp_path / "run"
    words = [
        "rl",
        "--game",
        "Breakout",
        "--lanes",
        "1",
        "--horizon",
        "16",
        "--epochs",
        "1",
        "--log-every",
        "1",
        "--run",
    ]
    command = [sys.executable, "-m", "train", *words, str(run)]
    environment = {**os.environ, "XLA_FLAGS": "", "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not read_metrics(run):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "start the same command again to go on" in said.splitlines()[-1]
    steps = max(int(path.name) for path in (run / "checkpoints").iterdir())
    assert read_metrics(run)[-1]["update"] == steps
    assert policies.load(run, "Breakout").actions[1] == "FIRE"


def test_another_configuration_in_the_same_folder_is_refused(trained: RlConfig) -> None:
    other = dataclasses.replace(trained, seed=1, ppo=dataclasses.replace(TINY, lr=1e-3), game="Pong")
    with pytest.raises(UserError, match="another game, ppo, seed"):
        train_expert(other, progress=False)


def test_what_cannot_be_trained_is_refused_and_nothing_written(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="did you mean Breakout"):
        train_expert(config(tmp_path / "run", game="Brekout"), progress=False)
    assert not (tmp_path / "run").exists()
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(UserError, match="not empty"):
        train_expert(config(tmp_path), progress=False)
    with pytest.raises(UserError, match="not empty"):
        train_expert(config(tmp_path / "letter.txt"), progress=False)
    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]
    (tmp_path / "config.json").write_text('{"config": {}, "store": {}}')
    with pytest.raises(UserError, match="run of another kind"):
        train_expert(config(tmp_path), progress=False)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"lanes": 0}, "lanes"),
        ({"steps": -1}, "steps"),
        ({"threads": 0}, "threads"),
        ({"seed": -1}, "seed"),
        ({"checkpoint_seconds": float("nan")}, "checkpoint_seconds"),
        ({"ppo": Ppo(gamma=1.1)}, "ppo.gamma"),
        ({"ppo": Ppo(gae_lambda=-0.1)}, "ppo.gae_lambda"),
        ({"ppo": Ppo(lr=0)}, "ppo.lr"),
        ({"ppo": Ppo(entropy=-1)}, "ppo.entropy"),
        ({"ppo": Ppo(minibatches=3)}, "ppo.minibatches must divide the 256 steps"),
    ],
)
def test_impossible_values_are_named(tmp_path: Path, changes: dict[str, Any], named: str) -> None:
    with pytest.raises(UserError, match=named):
        dataclasses.replace(config(tmp_path), **changes)


def test_a_minibatch_is_shared_evenly(tmp_path: Path) -> None:
    assert make_mesh(parts(RlConfig("Breakout", tmp_path))).size == 8
    assert make_mesh(parts(RlConfig("Breakout", tmp_path, lanes=3))).size == 6
    assert make_mesh(parts(RlConfig("Breakout", tmp_path, lanes=1, ppo=Ppo(horizon=28)))).size == 1


def test_steps_are_whole_updates(tmp_path: Path) -> None:
    assert RlConfig("Breakout", tmp_path).updates == 9766
    assert RlConfig("Breakout", tmp_path, steps=1).updates == 1


@pytest.mark.parametrize("kind", [RlConfig, Ppo])
def test_every_field_of_a_configuration_is_read(kind: type) -> None:
    read = set()
    for name in ("rl", "ppo", "rollout", "rlconfig"):
        tree = ast.parse((ROOT / "train" / f"{name}.py").read_text())
        read |= {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    assert {field.name for field in dataclasses.fields(kind)} <= read


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["--run", "new"], "game"),
        (["--game", "Brekout", "--run", "new"], "did you mean Breakout"),
        (["--game", "Breakout", "--run", "new", "--minibatches", "7"], "minibatches"),
    ],
)
def test_the_command_names_what_is_wrong_and_exits_with_2(words: list[str], named: str, tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "train", "rl", *words]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert named in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())
