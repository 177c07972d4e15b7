"""PPO's parts against plain ones, and what an update learns."""

import dataclasses
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from agents.atari.actor_critic import init, make_network
from agents.atari.convolutions import blocks_of
from data.games.arcade import Arcade
from data.spec import STACK
from tests.train.rl.runs import LANES, TINY, UPDATES, config, mesh_of
from train.checkpoint import digest
from train.mesh import make_mesh, replicated
from train.rl.loop import minibatch_parts
from train.rl.ppo import Rollout, Samples, advantages, make_update, objective, ppo_optimizer, stacked
from train.state import init_state

estimate = jax.jit(advantages)
SHAPE = 3, 8


@given(
    arrays(np.float32, SHAPE, elements=st.floats(-1, 1, width=32)),
    arrays(bool, SHAPE),
    arrays(np.float32, (SHAPE[0], SHAPE[1] + 1), elements=st.floats(-10, 10, width=32)),
    st.floats(0, 1),
    st.floats(0, 1),
)
def test_advantages_are_those_of_a_plain_loop(
    reward: np.ndarray, terminated: np.ndarray, value: np.ndarray, gamma: float, gae_lambda: float
) -> None:
    wanted = np.zeros(SHAPE)
    for lane in range(SHAPE[0]):
        later = 0.0
        for step in reversed(range(SHAPE[1])):
            continues = 0.0 if terminated[lane, step] else 1.0
            error = reward[lane, step] + gamma * continues * value[lane, step + 1] - value[lane, step]
            later = error + gamma * gae_lambda * continues * later
            wanted[lane, step] = later
    found = estimate(reward, terminated, value, gamma, gae_lambda)
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


def test_at_the_first_step_nothing_has_moved() -> None:
    of = samples([0, 1], [HALF, HALF], [1.0, -1.0])
    _, (policy_loss, _, entropy, approx_kl, clip_fraction) = objective(blind, blind_params([0.0, 0.0]), of, TINY)
    assert float(policy_loss) == pytest.approx(0, abs=1e-6)
    assert float(entropy) == pytest.approx(np.log(2))
    assert (float(approx_kl), float(clip_fraction)) == (0.0, 0.0)


@pytest.fixture(scope="module")
def played() -> tuple[np.ndarray, np.ndarray]:
    """500 steps of random play on two lanes: stacks [B, T, 84, 84, 4] and first steps [B, T]."""
    arcade, random = Arcade("Breakout", 2), np.random.default_rng(0)
    stacks, first, steps = arcade.reset(np.array([3, 4])), np.ones(2, bool), []
    for _ in range(500):
        steps.append((stacks, first))
        stacks, _, first = arcade.step(random.integers(4, size=2))
    stacks, first = (np.stack(column, axis=1) for column in zip(*steps, strict=True))
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
        terminated=np.ones((lanes, steps), bool),
    )


@pytest.mark.slow
def test_updates_learn_what_pays_from_what_is_seen_and_skip_what_is_not_finite(tmp_path: Path) -> None:
    mesh = make_mesh(minibatch_parts(config(tmp_path)))
    assert mesh.size == 2
    network = make_network(mesh)
    update, look = make_update(TINY, UPDATES, network, mesh), jax.jit(network)
    state = jax.device_put(init_state(init(jax.random.key(0), 4), ppo_optimizer(TINY, UPDATES)), replicated(mesh))
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
    assert int(state.step) == UPDATES
    assert right[0] == pytest.approx(0.25, abs=0.05)
    assert right[-1] > 0.5
    assert losses[-1] < losses[0]
    spoilt = bandit(np.zeros(shape), np.zeros(shape), np.zeros(shape, bool))
    spoilt.reward[0, 0] = np.nan
    before = digest(state._replace(step=jnp.int32(0)))
    state, metrics = update(state, spoilt, jax.random.key(1))
    assert not np.isfinite(metrics.value_loss)
    assert (int(state.step), int(state.skipped)) == (UPDATES + 1, 1)
    assert digest(state._replace(step=jnp.int32(0), skipped=jnp.int32(0))) == before


def test_the_learning_rate_falls_to_nothing() -> None:
    ppo = dataclasses.replace(TINY, max_grad_norm=1e9)
    optimizer, params = ppo_optimizer(ppo, 3), jnp.zeros(2)
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
        state = init_state(params, ppo_optimizer(ppo, 8))._replace(step=jnp.int32(number))
        return np.asarray(update(state, rollout, jax.random.key(seed))[0].params["logits"]).tobytes()

    assert learned(0, 0) == learned(0, 0)
    assert len({learned(0, 0), learned(1, 0), learned(0, 1)}) == 3
