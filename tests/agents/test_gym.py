from typing import cast

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from agents.gym.agent import GymAgent
from agents.gym.ladder import entries
from agents.xla import train_flops
from data.spec import Field

SPECS = {
    "numbers": {"observation": Field((4,), "float32")},
    "image": {"observation": Field((64, 64, 3), "uint8")},
    "small and odd": {
        "image": Field((7, 5, 1), "uint8"),
        "place": Field((), "float64"),
        "more": Field((2, 3), "int32"),
    },
}
CASES = [(spec, cast(GymAgent, agent)) for spec, fields in SPECS.items() for agent in entries(3, fields)]


def observed(agent: GymAgent, lanes: int, steps: int) -> dict[str, jax.Array]:
    random = np.random.default_rng(0)
    return {
        name: jnp.asarray(random.integers(0, 9, (lanes, steps, *field.shape)).astype(field.dtype))
        for name, field in agent.network.fields
    }


@pytest.mark.parametrize(("spec", "agent"), CASES, ids=lambda case: getattr(case, "name", case))
def test_parameters_are_those_that_are_counted(spec: str, agent: GymAgent) -> None:
    params = jax.eval_shape(agent.init, jax.random.key(0))
    cost = agent.cost(8)
    assert params.keys() == {group.name for group in cost.groups}
    for group in cost.groups:
        assert sum(leaf.size for leaf in jax.tree.leaves(params[group.name])) == group.part.params


@pytest.mark.parametrize(("spec", "agent"), CASES, ids=lambda case: getattr(case, "name", case))
def test_flops_are_xlas(spec: str, agent: GymAgent) -> None:
    counted = train_flops(agent, jax.eval_shape(lambda: observed(agent, 64, 8)))
    assert agent.cost(8).train_flops("exact") == pytest.approx(counted, rel=0.05)


@pytest.mark.parametrize(("spec", "agent"), CASES[:1] + CASES[-1:], ids=lambda case: getattr(case, "name", case))
def test_a_window_is_its_timesteps(spec: str, agent: GymAgent) -> None:
    params, seen = jax.jit(agent.init)(jax.random.key(1)), observed(agent, 2, 5)
    whole, _ = jax.jit(agent.apply)(params, seen, jnp.zeros((2, 5), bool), ())
    assert whole.shape == (2, 5, 3)
    for step in range(5):
        part = {name: array[:, step : step + 1] for name, array in seen.items()}
        one, _ = jax.jit(agent.apply)(params, part, jnp.zeros((2, 1), bool), ())
        np.testing.assert_allclose(one[:, 0], whole[:, step], rtol=1e-5, atol=1e-5)


@pytest.mark.slow
def test_every_field_is_read() -> None:
    for agent in (agent for spec, agent in CASES if spec == "small and odd" and agent.width <= 4):
        params, seen = jax.jit(agent.init)(jax.random.key(2)), observed(agent, 1, 1)
        before, _ = jax.jit(agent.apply)(params, seen, jnp.zeros((1, 1), bool), ())
        for name, array in seen.items():
            after, _ = jax.jit(agent.apply)(params, seen | {name: array + 1}, jnp.zeros((1, 1), bool), ())
            assert not np.allclose(before, after), (agent.name, name)


def test_convolutions_need_an_image() -> None:
    assert not any("cnn" in agent.name for agent in entries(2, SPECS["numbers"]))
