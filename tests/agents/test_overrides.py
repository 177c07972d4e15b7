"""Fields by path: on a command line, in a canonical name, and in the network that the name finds."""

import jax
import pytest

from agents.ladder import find, ladder
from agents.overrides import core_and_size, fold, settings
from data.common.cli import UserError


def test_options_with_a_dot_go_into_the_name() -> None:
    words = ["--core.layers", "2", "--agent", "nethack/lstm/16", "--lanes", "8", "--agent.prompts=false"]
    assert fold(words) == ["--agent", "nethack/lstm/16+core.layers=2+prompts=false", "--lanes", "8"]
    assert fold(["--agent=a", "--agent", "b", "--core.spare-row", "true"]) == [
        "--agent=a",
        "--agent",
        "b+core.spare_row=true",
    ]
    assert fold(["--agent=a", "--core.layers=2"]) == ["--agent=a+core.layers=2"]
    assert fold(["--core.layers", "2"]) == ["--core.layers", "2"]
    for words in (["--agent", "a", "--core.layers"], ["--agent", "a", "--core.layers", "--lanes", "8"]):
        with pytest.raises(UserError, match=r"--core\.layers needs a value"):
            fold(words)


def test_a_name_is_canonical_and_finds_the_same_network() -> None:
    agent = find("nethack/lstm/16+core.width=16+encoders.view=True+core.layers=3+core.layers=02")
    assert agent.name == "nethack/lstm/16+core.layers=2+encoders.view=true"
    assert find(agent.name) == agent != find("nethack/lstm/16")
    assert find("nethack/lstm/16+core.layers=1") == find("nethack/lstm/16")
    assert core_and_size(agent.name) == ("lstm", "16+core.layers=2+encoders.view=true")
    assert core_and_size("mine:agent+network.width=8") == ("mine:agent", "network.width=8")
    assert core_and_size("mine:agent") == ("mine:agent", None)


@pytest.mark.parametrize(
    "name",
    [
        "nethack/lstm/16+core.layers=2+encoders.crop=4+encoders.screen=2",
        "nethack/transformer/32+core.context=5+core.head=8+prompts=false",
        "nethack/paper/190k+encoders.inventory=true",
        "atari/impala/1+network.blocks=1+network.width=3",
        "gym/mlp/4+network.depth=3",
    ],
)
def test_cost_and_parameters_follow_the_fields(name: str) -> None:
    agent = find(name)
    assert agent.name == name
    params = jax.eval_shape(agent.init, jax.random.key(0))
    counted = {group.name: group.part.params for group in agent.cost(8).groups}
    assert counted == {group: sum(x.size for x in jax.tree.leaves(tree)) for group, tree in params.items()}
    assert agent.cost(8) != find(name.split("+")[0]).cost(8)


def test_every_field_of_every_kind_can_be_named() -> None:
    for agent in {type(agent): agent for agent in ladder().values()}.values():
        for path, (value, _) in settings(agent).items():
            assert find(f"{agent.name}+{path}={value}") == agent


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ("core.layrs=2", "no field core.layrs: choose from .*core.layers=1"),
        ("core.actions=2", "no field core.actions"),
        ("core.layers=0", "layers must be at least 1, not 0; its fields: .*core.layers=1"),
        ("core.layers=1.5", "core.layers must be int, not '1.5'"),
        ("core.spare_row=2", "core.spare_row must be bool"),
        ("core.width=40", "head must be even and divide width"),
        ("encoders.crop=-1", "crop must be at least 1"),
    ],
)
def test_what_cannot_be_is_one_line_with_the_fields(change: str, named: str) -> None:
    with pytest.raises(UserError, match=named):
        find(f"nethack/transformer/32+{change}")
