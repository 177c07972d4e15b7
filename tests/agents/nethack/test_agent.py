"""NetHack agents are causal, reset at episode starts, and give the same logits step by step as in a window."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from agents.cores.lstm import LSTM
from agents.cores.transformer import Transformer
from agents.nethack.agent import ACTIONS, NetHackAgent
from agents.nethack.deep import Deep
from agents.nethack.thin import Thin
from agents.spec import Dropout
from data import spec
from data.games.keys import KEYS

THIN = Thin(width=8, cell=2, text=2, view=True)
AGENTS = [
    NetHackAgent("test/lstm", THIN, LSTM(16, layers=2), prompts=True),
    NetHackAgent("test/transformer", THIN, Transformer(16, 2, head=8, context=5), prompts=True),
    NetHackAgent("test/screen", Thin(width=8, cell=2, text=2, screen=4), LSTM(16)),
    NetHackAgent("test/deep", Deep(inventory=True), Transformer(64, 1, context=4, spare_row=True)),
]
LANES, STEPS = 2, 12


def screens(seed: int, agent: NetHackAgent, lanes: int = LANES, steps: int = STEPS) -> dict[str, jax.Array]:
    random = np.random.default_rng(seed)
    lead = lanes, steps
    observation = {
        "chars": random.integers(32, 127, (*lead, 24, 80), np.uint8),
        "colors": random.integers(0, 16, (*lead, 24, 80), np.uint8),
        "cursor": np.stack([random.integers(0, 24, lead), random.integers(0, 80, lead)], -1).astype(np.uint8),
        "prev_action": random.integers(0, ACTIONS + 1, lead).astype(np.uint8),
    }
    if isinstance(agent.encoders, Deep) and agent.encoders.inventory:
        observation["inventory"] = random.integers(0, 5977, (*lead, 55), np.int16)
    return jax.tree.map(jnp.asarray, observation)


@pytest.fixture(scope="module", params=AGENTS, ids=lambda agent: agent.name)
def agent(request: pytest.FixtureRequest) -> NetHackAgent:
    return request.param


@pytest.fixture(scope="module")
def params(agent: NetHackAgent):
    return jax.jit(agent.init)(jax.random.key(0))


def starts(*places: tuple[int, int]) -> jax.Array:
    first = np.zeros((LANES, STEPS), bool)
    first[:, 0] = True
    for lane, step in places:
        first[lane, step] = True
    return jnp.asarray(first)


def close(a: jax.Array, b: jax.Array) -> None:
    np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-5)


def test_one_step_at_a_time_gives_what_a_window_gives(agent, params) -> None:
    observation, first = screens(1, agent), starts((0, 4), (1, 9))
    whole, after = jax.jit(agent.apply)(params, observation, first, agent.initial_carry(LANES))
    carry, single = agent.initial_carry(LANES), []
    step = jax.jit(agent.apply)
    for t in range(STEPS):
        now = {name: x[:, t : t + 1] for name, x in observation.items()}
        logits, carry = step(params, now, first[:, t : t + 1], carry)
        single.append(logits)
    close(jnp.concatenate(single, 1), whole)
    jax.tree.map(close, carry, after)


@pytest.mark.slow
def test_windows_of_a_lane_continue_one_another(agent, params) -> None:
    observation, first = screens(2, agent), starts((1, 2))
    apply = jax.jit(agent.apply)
    whole, _ = apply(params, observation, first, agent.initial_carry(LANES))
    carry, parts = agent.initial_carry(LANES), []
    for t in range(0, STEPS, 4):
        now = {name: x[:, t : t + 4] for name, x in observation.items()}
        logits, carry = apply(params, now, first[:, t : t + 4], carry)
        parts.append(logits)
    close(jnp.concatenate(parts, 1), whole)


def test_the_future_does_not_reach_the_past(agent, params) -> None:
    observation, first = screens(3, agent), starts()
    other = screens(4, agent)
    changed = {name: x.at[:, 7:].set(other[name][:, 7:]) for name, x in observation.items()}
    apply = jax.jit(agent.apply)
    before, _ = apply(params, observation, first, agent.initial_carry(LANES))
    after, _ = apply(params, changed, first, agent.initial_carry(LANES))
    close(after[:, :7], before[:, :7])
    assert not np.allclose(after[:, 7:], before[:, 7:])


def test_an_episode_start_forgets_and_the_past_is_remembered_without_one(agent, params) -> None:
    observation, other = screens(5, agent), screens(6, agent)
    changed = {name: x.at[:, :6].set(other[name][:, :6]) for name, x in observation.items()}
    apply = jax.jit(agent.apply)
    results = {}
    for name, first in (("two episodes", starts((0, 6), (1, 6))), ("one", starts())):
        a, _ = apply(params, observation, first, agent.initial_carry(LANES))
        b, _ = apply(params, changed, first, agent.initial_carry(LANES))
        results[name] = np.allclose(a[:, 6:], b[:, 6:], rtol=2e-4, atol=2e-5)
    assert results == {"two episodes": True, "one": False}


def test_lanes_do_not_see_each_other(agent, params) -> None:
    observation, first = screens(7, agent), starts()
    other = screens(8, agent)
    changed = {name: x.at[1].set(other[name][1]) for name, x in observation.items()}
    apply = jax.jit(agent.apply)
    a, _ = apply(params, observation, first, agent.initial_carry(LANES))
    b, _ = apply(params, changed, first, agent.initial_carry(LANES))
    close(a[0], b[0])
    assert not np.allclose(a[1], b[1])


@pytest.mark.slow
def test_dropout_is_noise_of_its_bits_alone(agent, params) -> None:
    observation, first = screens(9, agent), starts()

    @jax.jit
    def logits(seed: int) -> jax.Array:
        noise = Dropout(0.5, jax.random.bits(jax.random.key(seed), (LANES,), jnp.uint32))
        return agent.apply(params, observation, first, agent.initial_carry(LANES), noise)[0]

    quiet, _ = jax.jit(agent.apply)(params, observation, first, agent.initial_carry(LANES))
    close(logits(0), logits(0))
    assert not np.allclose(logits(0), logits(1))
    assert not np.allclose(logits(0), quiet)


def test_bfloat16_computes_nearly_the_same() -> None:
    agent = AGENTS[0]
    half = dataclasses.replace(agent, dtype="bfloat16")
    params, observation, first = jax.jit(agent.init)(jax.random.key(0)), screens(10, agent), starts()
    a, _ = jax.jit(agent.apply)(params, observation, first, agent.initial_carry(LANES))
    b, carry = jax.jit(half.apply)(params, observation, first, half.initial_carry(LANES))
    assert b.dtype == jnp.float32
    assert {x.dtype for x in jax.tree.leaves(carry[0])} == {jnp.dtype("float32")}
    assert 0 < float(jnp.abs(a - b).max()) < 0.1


def test_parameters_are_a_flat_dict_of_the_groups_of_the_cost(agent, params) -> None:
    """As in checkpoints."""
    assert set(params) == {group.name for group in agent.cost(1).groups}


def test_the_head_matches_the_action_table() -> None:
    assert len(KEYS) == ACTIONS == spec.NO_ACTION
