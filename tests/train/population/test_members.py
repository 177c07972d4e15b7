"""What `--population` stands for."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from data.common.cli import UserError
from tests.train.runs import config
from train.config import TrainConfig
from train.population.members import hyperparameters, members_of


def population(text: str, **changes) -> TrainConfig:
    return config(Path("store"), Path("run"), population=text, **changes)


def test_members_are_the_product_of_the_values_each_as_if_it_were_alone() -> None:
    whole = population("init_seed=0..1,5 lr=1e-3,0.03", data_seed=7)
    members = members_of(whole)
    assert [(member.init_seed, member.optimizer.lr) for member in members] == [
        (seed, lr) for seed in (0, 1, 5) for lr in (1e-3, 0.03)
    ]
    assert members[3].run == Path("run/init_seed=1,lr=0.03")
    optimizer = dataclasses.replace(whole.optimizer, lr=0.03)
    alone = dataclasses.replace(whole, population=None, run=members[3].run, init_seed=1, optimizer=optimizer)
    assert members[3] == alone
    assert members_of(alone) == (alone,)


def test_only_what_members_differ_in_is_an_array_of_the_step() -> None:
    hyper = hyperparameters(members_of(population("init_seed=4294967295,0 lr=1e-3 eps=1e-8,1e-6")))
    assert {name: values.dtype.name for name, values in hyper.items()} == {"init_seed": "uint32", "eps": "float32"}
    np.testing.assert_array_equal(hyper["init_seed"], [2**32 - 1, 2**32 - 1, 0, 0])
    np.testing.assert_array_equal(hyper["eps"], np.array([1e-8, 1e-6, 1e-8, 1e-6], np.float32))


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("", "names no option"),
        ("lr", "'lr': give NAME=VALUES"),
        ("lr=1 lr=2", "once for each option"),
        ("lanes=8,16", "can't differ in 'lanes': choose from init_seed, lr,"),
        ("lr=0..1", "lr=0..1 is no number"),
        ("init_seed=0.5", "init_seed=0.5 is no number"),
        ("init_seed=3..1", r"init_seed=3..1 is no number"),
        ("init_seed=1,,2", "init_seed= is no number"),
        ("init_seed=0..2,1", "init_seed twice"),
        ("init_seed=4294967296", "below 2\\^32"),
        ("lr=nan", "lr=nan is no number"),
        ("lr=1e-3,-1", "optimizer.lr must be more than 0"),
    ],
)
def test_what_is_no_population_is_refused_by_name(text: str, named: str) -> None:
    with pytest.raises(UserError, match=named):
        members_of(population(text))


def test_a_population_is_not_sharded_over_fsdp() -> None:
    with pytest.raises(UserError, match="--fsdp"):
        members_of(population("init_seed=0..1", fsdp=2))
