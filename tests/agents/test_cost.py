"""The cost model against the parameters that exist, XLA's count, and the paper's published counts."""

import jax
import jax.numpy as jnp
import pytest

from agents.cost import Cost, Group, Part
from agents.gym.ladder import SHOWN
from agents.ladder import ladder
from agents.nethack.ladder import PAPER_SIZES

LADDER = ladder()
LANES = 8
SEEN = {
    "chars": ((1, 24, 80), jnp.uint8),
    "colors": ((1, 24, 80), jnp.uint8),
    "cursor": ((1, 2), jnp.uint8),
    "prev_action": ((1,), jnp.uint8),
    "inventory": ((1, 55), jnp.int16),
    "frames": ((4, 84, 84), jnp.uint8),
    "oldest": ((1,), jnp.int32),
    **{name: ((1, *field.shape), field.dtype) for name, field in SHOWN.items()},
}
"""What agents read of a step: shape of a lane, dtype."""

PAPER_N = (
    188_793, 516_729, 1_574_137, 2_639_481, 5_614_201, 10_301_305, 22_190_201, 57_322_617, 105_242_489, 192_626_169,
)  # fmt: skip
"""N of the paper's ten NetHack agents, as its public measurements list them."""


@pytest.mark.parametrize("name", LADDER)
def test_parameters_by_group_are_those_that_exist(name: str) -> None:
    agent = LADDER[name]
    params = jax.eval_shape(agent.init, jax.random.key(0))
    counted = {group.name: group.part.params for group in agent.cost(32).groups}
    assert counted == {group: sum(x.size for x in jax.tree.leaves(tree)) for group, tree in params.items()}


@pytest.mark.parametrize("name", LADDER)
def test_flops_are_within_five_percent_of_the_compiler_count(name: str) -> None:
    agent = LADDER[name]
    params = jax.eval_shape(agent.init, jax.random.key(0))
    observation = {key: jax.ShapeDtypeStruct((LANES, *SEEN[key][0]), SEEN[key][1]) for key in agent.inputs}
    carry = jax.eval_shape(lambda: agent.initial_carry(LANES))
    first = jax.ShapeDtypeStruct((LANES, 1), bool)
    analysis = jax.jit(agent.apply).lower(params, observation, first, carry).cost_analysis()
    assert analysis is not None
    # XLA counts making a number of a pixel as an operation.
    casts = 4 * 84 * 84 if "frames" in agent.inputs else 0
    assert agent.cost(window=1).forward_flops == pytest.approx(analysis["flops"] / LANES - casts, rel=0.05)


@pytest.mark.parametrize(("size", "params"), list(zip(PAPER_SIZES, PAPER_N, strict=True)))
def test_the_papers_agents_count_to_the_last_parameter(size: str, params: int) -> None:
    with_inventory = LADDER[f"nethack/paper/{size}-inv"].cost(32)
    without = LADDER[f"nethack/paper/{size}"].cost(32)
    width, _ = PAPER_SIZES[size]
    assert with_inventory.counted_params == params
    assert without.counted_params == params - 256 * width
    assert with_inventory.train_flops("paper") == 6 * params


def test_the_ladder_reaches_from_a_laptop_to_a_cluster() -> None:
    costs = [agent.cost(32) for agent in LADDER.values()]
    small = min(costs, key=lambda cost: cost.params)
    assert small.params < 50_000
    assert small.train_flops("exact") < 1e6
    assert max(cost.params for cost in costs) > 200e6


def test_training_costs_three_forward_passes() -> None:
    cost = Cost((Group("a", Part(10, 100), True), Group("b", Part(5, 7), False)))
    assert (cost.params, cost.counted_params, cost.forward_flops) == (15, 10, 107)
    assert cost.train_flops("exact") == 321
    assert cost.train_flops("paper") == 60
