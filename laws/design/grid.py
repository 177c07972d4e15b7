"""The grid of a sweep: which sizes are trained at which budgets."""

import math
import sys
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np

from agents.cost import Convention
from agents.ladder import find, ladder
from data.common.cli import UserError
from data.common.progress import count
from data.games.registry import find as find_game
from data.sampling.stream import epoch
from data.spec import Field
from data.store.mixture import open_stores
from laws.design.config import AUTO, Size, SweepConfig, names
from laws.fitting.analysis import Fit, fit
from laws.predict.published import LAWS
from laws.rows.runs import read
from train.config import TrainConfig

FEWEST = 5
"""Sizes that a parabola through a budget needs (`laws.fitting.parabola.MIN_CELLS`)."""


@dataclass(frozen=True)
class Content:
    """What agents have to know of the games that they learn from."""

    game: str
    actions: int
    observation: Mapping[str, Field]
    checksum: str
    epoch: int
    """Steps of all training episodes."""


@dataclass(frozen=True)
class Grid:
    """The sizes of each budget, and what was left out."""

    sizes: Mapping[float, tuple[Size, ...]]
    """Smallest first."""
    left_out: tuple[str, ...]
    """In words, a line for each reason."""


def content_of(shared: TrainConfig, game: str | None = None) -> Content:
    """Look into the stores, which hold `game` if one is given.

    Raises: UserError: a store can't be read, or holds another game.
    """
    store = open_stores(shared.stores, shared.weights, shared.games)
    actions, held = len(store.manifest["actions"]), store.manifest["game"]
    if game not in (None, held):
        raise UserError(f"{shared.store} holds games of {held}, not {game}: leave --game out, or give another --store")
    return Content(held, actions, store.codec.observation, store.checksum, epoch(store))


def content_of_game(name: str) -> Content:
    """What is known of a game without a store of it: epochs then have no end.

    Raises: UserError: there is no such game.
    """
    content = find_game(name).content()
    return Content(name, len(content.actions), content.codec.observation, "", sys.maxsize)


Distance = Callable[[Size, float], float]
"""From a size and a budget to ln N minus that of the optimum that is expected there."""


def grid_of(
    config: SweepConfig,
    shared: TrainConfig,
    content: Content,
    planned: Mapping[float, Sequence[Size]] = MappingProxyType({}),
    expected: Distance | None = None,
) -> Grid:
    """Choose the sizes of every budget; those of `planned` have the sizes that they have there.

    Args:
        config: The budgets, and how sizes are chosen.
        shared: Batch, window and convention of all runs.
        content: What is known of the store.
        planned: Sizes of budgets that were planned before.
        expected: Where the optimum is expected; by default as `config.prior` says.

    Raises: UserError: there is no such family or size, or nothing is left of the grid.
    """
    if not config.budgets and not config.samples:
        raise UserError("--budgets is empty: give at least one, for example --budgets 1e12 3e12 1e13")
    family = family_of(config, shared, content)
    kept: dict[float, tuple[Size, ...]] = {}
    short: list[str] = []
    repeated: list[str] = []
    if config.sizes != AUTO:
        expected = None
    elif expected is None:
        expected = expected_by(config.prior, content.game)
    of_samples: dict[float, list[Size]] = defaultdict(list)
    for size in family if config.samples else ():
        for samples in config.samples:
            of_samples[samples * size.flops].append(size)
    for budget in sorted(config.budgets or of_samples):
        if budget in planned:
            kept[budget] = tuple(planned[budget])
            continue
        wanted = of_samples[budget] if config.samples else family
        if expected is not None:
            wanted = _near(family, budget, expected, config.spread)
        few = {size for size in wanted if too_short(size, budget, config, shared)}
        many = {size for size in wanted if too_long(size, budget, config, content)}
        short += [f"{size.agent} at {budget:.3g}" for size in wanted if size in few]
        repeated += [f"{size.agent} at {budget:.3g}" for size in wanted if size in many]
        kept[budget] = tuple(size for size in wanted if size not in few | many)
    left_out = [
        f"{count(len(cells), 'cell')} of {what}: {names(cells)}"
        for cells, what in (
            (short, f"fewer than {config.min_steps} steps of {shared.batch:,} samples (--min-steps, --lanes)"),
            (repeated, f"more than {config.max_epochs:g} epochs of {content.epoch:,} samples (--max-epochs)"),
        )
        if cells
    ]
    if not any(kept.values()):
        raise UserError(f"no cell is left: {'; '.join(left_out)}")
    return Grid({budget: sizes for budget, sizes in kept.items() if sizes}, tuple(left_out))


def too_short(size: Size, budget: float, config: SweepConfig, shared: TrainConfig) -> bool:
    """Whether a cell has too few optimiser steps."""
    return size.samples(budget) < config.min_steps * shared.batch


def too_long(size: Size, budget: float, config: SweepConfig, content: Content) -> bool:
    """Whether a cell passes over the data too often."""
    return size.samples(budget) > config.max_epochs * content.epoch


def family_of(config: SweepConfig, shared: TrainConfig, content: Content) -> list[Size]:
    """The sizes that are asked for, or all of the family, by N.

    Raises: UserError: there is no such family or size.
    """
    if config.sizes == AUTO:
        found = ladder(content.actions, content.observation)
        # Variants of a size, such as 57M-inv, are trained where they are asked for.
        agents = [name for name in found if name.rpartition("/")[0] == config.family and "-" not in name]
        if not agents:
            families = sorted({name.rpartition("/")[0] for name in found})
            raise UserError(f"--family {config.family}: there are {', '.join(families)}")
    else:
        agents = [find(f"{config.family}/{size}", content.actions, content.observation).name for size in config.sizes]
    convention: Convention = shared.convention
    costs = {name: find(name, content.actions, content.observation).cost(shared.window) for name in agents}
    sizes = [
        Size(name, cost.counted_params, cost.train_flops(convention), cost.train_flops("exact"))
        for name, cost in costs.items()
    ]
    return sorted(sizes, key=lambda size: size.params)


def _by_ratio(ratio: float) -> Distance:
    """An optimum of so many samples per parameter. D / N falls about as N^-2 along a budget."""
    return lambda size, budget: -math.log(budget / size.flops / size.params / ratio) / 2


def by_law(coefficient: float, exponent: float) -> Distance:
    """An optimum that is a power law of C."""
    return lambda size, budget: math.log(size.params) - math.log(coefficient) - exponent * math.log(budget)


def expected_by(prior: str, game: str) -> Distance:
    """The prior that a word names.

    Raises: UserError: it is none, or a table that has no law of N.
    """
    try:
        ratio = float(prior)
    except ValueError:
        ratio = math.nan
    if 0 < ratio < math.inf:
        return _by_ratio(ratio)
    if prior == "paper":
        if game not in LAWS:
            raise UserError(f"--prior paper: the paper has no law for {game}, only for {', '.join(LAWS)}")
        line = LAWS[game]["params"]
        return by_law(float(line.predict(np.array(1.0))), line.exponent)
    if not Path(prior).exists():
        raise UserError(f'--prior {prior}: give a number of samples per parameter, "paper", or a table of rows')
    found = expected_after(fit(read([Path(prior)]).rows, draws=0, choosing=False), game)
    if found is None:
        raise UserError(f"--prior {prior}: its rows give no law of N for {game}")
    return found


def expected_after(found: Fit, game: str) -> Distance | None:
    """The optimum of a game by its law of N; None if it has none."""
    for fitted in found.games:
        for method in ("isoflop", "envelope"):
            law = fitted.found("params", method) if fitted.game == game else None
            if law is not None:
                return by_law(law.power.coefficient, law.power.exponent)
    return None


def _near(family: Sequence[Size], budget: float, expected: Distance, spread: float) -> list[Size]:
    """The sizes within a factor of the expected optimum, and at least the nearest few."""
    away = {size: abs(expected(size, budget)) for size in family}
    nearest = sorted(family, key=away.__getitem__)[:FEWEST]
    return [size for size in family if size in nearest or away[size] <= math.log(spread)]
