"""The cost model against the parameters that exist, XLA's count, and the paper's published counts."""

from itertools import groupby

import jax
import pytest

from agents.cores.lstm import LSTM
from agents.cost import Cost, Group, Part, conv, dense
from agents.ladder import ladder
from agents.nethack.ladder import PAPER_SIZES
from agents.xla import batch_of, train_flops

LADDER = ladder()
LANES, WINDOW = 64, 8


BY_KIND = [list(names) for _, names in groupby(LADDER, key=lambda name: name.rsplit("/", 1)[0])]
QUICK = {name for names in BY_KIND for name in (names[0], names[len(names) // 2 - 1])}
"""The smallest and a middle one of each kind."""
EVERY = [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in LADDER]

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


@pytest.mark.parametrize("name", EVERY)
def test_training_flops_are_within_five_percent_of_the_compilers(name: str) -> None:
    agent = LADDER[name]
    counted = train_flops(agent, batch_of(agent, LANES, WINDOW))
    assert agent.cost(WINDOW).train_flops("exact") == pytest.approx(counted, rel=0.05)


@pytest.mark.parametrize("name", EVERY)
def test_forward_flops_are_within_five_percent_of_the_compilers(name: str) -> None:
    agent = LADDER[name]
    params = jax.eval_shape(agent.init, jax.random.key(0))
    first, carry = jax.ShapeDtypeStruct((LANES, 1), bool), jax.eval_shape(lambda: agent.initial_carry(LANES))
    analysis = jax.jit(agent.apply).lower(params, batch_of(agent, LANES, 1), first, carry).cost_analysis()
    assert analysis is not None
    assert agent.cost(window=1).forward_flops == pytest.approx(analysis["flops"] / LANES, rel=0.05)


def test_no_gradient_reaches_the_carry_that_enters_a_window() -> None:
    """Of T steps, the first has no gradient of its hidden state: two of 18 products of a layer's width squared."""
    core = LSTM(width=8).cost
    assert core(1).train - core(1).forward == 4 * 8 * (6 * 8 + 1) + 21 * 8
    assert core(4).train - core(1).train == 3 * (2 * 4 * 8**2) // 4


def test_a_layer_over_data_has_no_input_gradient() -> None:
    assert dense(3, 5) == Part(20, 35, 65)
    assert dense(3, 5, data=True) == Part(20, 35, 35)
    assert conv(7, 4, 3, 5, 2).backward - conv(7, 4, 3, 5, 2, data=True).backward == 2 * 7 * 3 * 5


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


def test_conventions_count_training_each_in_its_way() -> None:
    cost = Cost((Group("a", Part(10, 100, 150), True), Group("b", Part(5, 7, 14), False)))
    assert (cost.params, cost.counted_params, cost.forward_flops) == (15, 10, 107)
    assert cost.train_flops("exact") == 271
    assert cost.train_flops("paper") == 60
