"""The ladder: names, families, and what callers ask of every agent."""

import ast
import functools
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

from agents.gym.ladder import SHOWN
from agents.ladder import FAMILIES, find, ladder
from agents.spec import Params
from agents.table import merged
from data.common.cli import UserError

ROOT = Path(__file__).resolve().parents[2]


@functools.cache
def fresh(name: str) -> Params:
    return jax.jit(find(name, 4).init)(jax.random.key(0))


@pytest.mark.parametrize(
    ("name", "near"),
    [("nethack/lstm/63", "nethack/lstm/64"), ("atari/cnn/235", "atari/cnn/23"), ("atary/cnn/1", "atari/")],
)
def test_an_unknown_agent_is_named_with_its_neighbours(name: str, near: str) -> None:
    with pytest.raises(UserError, match=f"{name}'.*near it: .*{near}"):
        find(name)


def test_names_in_the_ladder_are_unique_and_say_the_core() -> None:
    for name, agent in ladder().items():
        assert agent.name == name
        assert name.count("/") == 2
        family = name.split("/")[1]
        assert agent.kind == {"paper": "transformer", "paper-lstm": "lstm"}.get(family, family)


def test_both_recurrent_ladders_reach_a_billion_parameters() -> None:
    for core in ("lstm", "transformer"):
        counts = [
            agent.cost(32).counted_params for name, agent in ladder().items() if name.startswith(f"nethack/{core}/")
        ]
        assert counts == sorted(counts)
        assert counts[-1] > 1e9


def test_the_table_of_the_ladder_has_every_group_once() -> None:
    shown = merged([group.name for group in agent.cost(32).groups] for agent in ladder().values())
    assert len(set(shown)) == len(shown)
    assert set(shown) == {group.name for agent in ladder().values() for group in agent.cost(32).groups}
    nethack = [name for name in shown if not name.startswith(("conv", "section", "hidden"))]
    assert nethack[0] == "cells"
    assert nethack[-4:] == ["mixer", "core", "head", "prompt"]


@pytest.mark.parametrize("family", FAMILIES)
def test_an_agent_says_what_it_is_and_computes_that(family: str) -> None:
    agent = next(agent for agent in ladder(7).values() if agent.name.startswith(f"{family}/")).for_backend("bfloat16")
    assert (agent.dtype, agent.for_backend().dtype) == ("bfloat16", "float32")
    assert hash(agent) == hash(agent.for_backend("bfloat16"))
    assert min(agent.width, agent.depth) >= 1
    carry = jax.eval_shape(lambda: agent.initial_carry(3))
    assert {leaf.shape[0] for leaf in jax.tree.leaves(carry)} == ({3} if agent.recurrent else set())
    assert agent.microbatch is None or not agent.recurrent
    shapes = {"frames": (3, 4, 84, 84), "oldest": (3, 1), "cursor": (3, 1, 2), "prev_action": (3, 1)}
    shapes |= {name: (3, 1, *field.shape) for name, field in SHOWN.items()}
    dtypes = {"oldest": jnp.int32} | {name: field.dtype for name, field in SHOWN.items()}
    observation = {
        name: jax.ShapeDtypeStruct(shapes.get(name, (3, 1, 24, 80)), dtypes.get(name, jnp.uint8))
        for name in agent.inputs
    }
    first = jax.ShapeDtypeStruct((3, 1), bool)
    params = jax.eval_shape(agent.init, jax.random.key(0))
    logits, after = jax.eval_shape(agent.apply, params, observation, first, carry)
    assert (logits.shape, logits.dtype) == ((3, 1, agent.actions), jnp.float32)
    assert jax.tree.map(lambda x: (x.shape, x.dtype), after) == jax.tree.map(lambda x: (x.shape, x.dtype), carry)


def test_families_know_nothing_of_each_other_and_one_module_asks_for_the_backend() -> None:
    """`agents.cpu.devices.on_cpu` is the only switch, and nobody tells agents apart by their type."""
    for path in [path for package in ("agents", "train") for path in (ROOT / package).rglob("*.py")]:
        tree, name = ast.parse(path.read_text()), str(path.relative_to(ROOT))
        attributes = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
        assert "default_backend" not in attributes or name == "agents/cpu/devices.py", name
        calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
        tested = {ast.unparse(node.args[1]) for node in calls if ast.unparse(node.func) == "isinstance"}
        assert not any(kind.endswith("Agent") for kind in tested), name
        for family in FAMILIES:
            others = [f"agents.{other}" for other in FAMILIES if other != family]
            modules = [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
            if name.startswith(f"agents/{family}/"):
                assert not any(module.startswith(tuple(others)) for module in modules), name


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "path", "first"),
    [
        ("nethack/lstm/16", "cells/char/rows", -0.167779),
        ("nethack/lstm/16", "crop/kernel", -0.152089),
        ("nethack/lstm/16", "mixer/linear0/kernel", 0.057532),
        ("nethack/lstm/16", "core/layer0/hidden", -0.054313),
        ("nethack/paper/190k", "crop/conv0/kernel", -0.095942),
        ("nethack/paper/190k", "core/layer0/q/kernel", 0.118557),
        ("nethack/paper/190k", "head/kernel", 0.252206),
        ("atari/cnn/1", "conv0/kernel", 0.051025),
        ("atari/cnn/1", "head/kernel", 0.203813),
        ("atari/impala/1", "section0/block0_conv0/kernel", 0.262201),
    ],
)
def test_a_seed_gives_the_parameters_that_it_always_gave(name: str, path: str, first: float) -> None:
    """Flax derives a parameter's key from the names of its modules: where this fails, one was renamed or moved."""
    params = fresh(name)
    for part in path.split("/"):
        params = params[part]
    assert float(params.ravel()[0]) == pytest.approx(first, rel=1e-4)
