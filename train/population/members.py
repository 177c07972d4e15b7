"""The members of a population: the configurations that `--population` stands for."""

import dataclasses
import itertools
import math
from collections.abc import Mapping, Sequence

import numpy as np

from data.common.cli import UserError
from train.config import TrainConfig

SEED = "init_seed"
OPTIMIZER = ("lr", "final_lr", "weight_decay", "b1", "b2", "eps", "clip")
"""Options of the optimiser in which members may differ: arrays of the compiled step."""
NAMES = (SEED, *OPTIMIZER)
_EXAMPLE = '"init_seed=0..7 lr=1e-3,3e-3"'


def members_of(config: TrainConfig) -> tuple[TrainConfig, ...]:
    """The runs that a configuration stands for: those of its population, in folders below `config.run`, or itself.

    Raises: UserError: the population is malformed, or a value is out of range.
    """
    if config.population is None:
        return (config,)
    if config.fsdp > 1:
        raise UserError("--fsdp shards the state of one run: leave it out with --population")
    if config.optimizer.scaling == "mup":
        raise UserError("--scaling mup trains one run: leave it out with --population")
    axes = _axes(config.population)
    return tuple(_member(config, dict(zip(axes, values, strict=True))) for values in itertools.product(*axes.values()))


def hyperparameters(members: Sequence[TrainConfig]) -> dict[str, np.ndarray]:
    """The options in which members differ, by name: arrays with one number for each, float32, of seeds uint32."""
    values = {SEED: [member.init_seed for member in members]}
    values |= {name: [getattr(member.optimizer, name) for member in members] for name in OPTIMIZER}
    return {
        name: np.array(of_members, np.uint32 if name == SEED else np.float32)
        for name, of_members in values.items()
        if len(set(of_members)) > 1
    }


def _axes(text: str) -> dict[str, tuple[float, ...]]:
    """The values of each option, as `--population` names them."""
    axes: dict[str, tuple[float, ...]] = {}
    for word in text.split():
        name, equals, values = word.partition("=")
        if not equals or name in axes:
            raise UserError(f"--population {text!r}: give NAME=VALUES once for each option, as in {_EXAMPLE}")
        if name not in NAMES:
            raise UserError(f"members of a population can't differ in {name!r}: choose from {', '.join(NAMES)}")
        axes[name] = tuple(number for part in values.split(",") for number in _numbers(name, part))
        if len(set(axes[name])) < len(axes[name]):
            raise UserError(f"--population names a {name} twice: give each value once")
    if not axes:
        raise UserError(f"--population names no option: give for example {_EXAMPLE}")
    return axes


def _numbers(name: str, text: str) -> Sequence[float]:
    """The numbers that a part of VALUES stands for: one, or of seeds all from the first to the last."""
    try:
        if name != SEED:
            numbers = (float(text),)
        else:
            begin, _, end = text.partition("..")
            numbers = range(int(begin), int(end or begin) + 1)
    except ValueError:
        numbers = ()
    if not numbers or not all(math.isfinite(number) for number in numbers):
        raise UserError(f"--population: {name}={text} is no number (seeds may be 0..7): write it as in {_EXAMPLE}")
    return numbers


def _member(config: TrainConfig, values: Mapping[str, float]) -> TrainConfig:
    name = ",".join(f"{option}={value}" for option, value in values.items())
    seed = int(values.get(SEED, config.init_seed))
    if seed >= 2**32:
        raise UserError(f"{SEED} {seed}: choose one below 2^32")
    optimizer = dataclasses.replace(config.optimizer, **{k: v for k, v in values.items() if k != SEED})
    return dataclasses.replace(config, run=config.run / name, init_seed=seed, optimizer=optimizer, population=None)
