"""The runs of a sweep: trainings, or populations of them, each of which makes the cells of its budgets."""

import dataclasses
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from data.common.cli import UserError
from laws.design.config import FILE, Settings, Size, Sweep, read_sweep
from train.config import TrainConfig, result_fields
from train.population.members import members_of
from train.scaling.rule import rule_of

OWN = {"init_seed", "data_seed", "fsdp", "threads", "log_every", "max_skipped", "checkpoint_seconds", "dev_samples"}
"""Numbers among the options of `train bc` that `--vary` can't name: of each training its own, or without effect."""
FEWEST_STEPS = 20
"""Optimiser steps that a cell with a setting that is tried has at least; the given one has `min_steps`."""


@dataclass(frozen=True)
class Cell:
    """A checkpoint: one training at one budget."""

    run: str
    """Name of the training in result rows."""
    flops: float
    key: str
    """Hex digits of the hash of all that determines its row: configuration, store, budget and evaluation."""


@dataclass(frozen=True)
class SweepRun:
    """A training or a population, and the cells that it makes."""

    name: str
    """Name of its folder, which the hash of its configuration is part of."""
    config: TrainConfig
    cells: tuple[Cell, ...]
    tries: bool = False
    """Whether it tries settings, for `--tune`: its cells are no part of the sweep's table, and play no games."""

    @property
    def members(self) -> tuple[TrainConfig, ...]:
        """The trainings: those of a population, or itself."""
        return members_of(self.config)

    @property
    def flops(self) -> float:
        """Training FLOPs: of its largest budget, and of the branches that decay to the smaller ones."""
        decay = self.config.optimizer.decay if self.config.schedule == "wsd" else 0.0
        *smaller, largest = sorted(self.config.flops)
        return len(self.members) * (largest + decay * sum(smaller))


def runs_of(sweep: Sweep, folder: Path) -> list[SweepRun]:
    """The runs of a sweep whose folder is `folder`, in the order in which they are to be started.

    Those that try settings come first. Then those with the smallest largest budget, so that the laws are known early
    and grow; of these the first seeds, and the sizes in the middle of their budget, where the optimum is expected. With
    `--tune`, sizes whose settings are not known yet have no run.
    """
    runs = [
        _run(sweep, folder, shared, agent, budgets, seed)
        for shared in varied(sweep.config.vary, sweep.shared)
        for seed in range(sweep.config.seeds)
        for agent, budgets in _trainings(sweep, _sizes_of_seed(sweep, seed))
        if not sweep.config.tune or agent in sweep.settings
    ]
    middle = {
        (size.agent, budget): abs(place - (len(sizes) - 1) / 2)
        for budget, sizes in sweep.sizes.items()
        for place, size in enumerate(sizes)
    }

    def order(run: SweepRun) -> tuple[float, int, float, str]:
        largest = max(run.config.flops)
        return largest, run.config.init_seed, middle[run.config.agent, largest], run.name

    return [*_tried(sweep, folder), *sorted(runs, key=order)]


def runs_in(folder: Path, *, provisional: bool = False) -> list[SweepRun]:
    """The runs of the sweep that a folder records, by `runs_of`; they are made anew only when the record has changed.

    Args:
        folder: Folder of the sweep.
        provisional: Whether those are among them whose tuned settings are not known yet, with the given ones.

    Raises: UserError: the folder holds no sweep.
    """
    path = folder / FILE
    return list(_runs_in(folder, path.read_text() if path.is_file() else "", provisional))


@lru_cache(maxsize=2)
def _runs_in(folder: Path, recorded: str, provisional: bool) -> tuple[SweepRun, ...]:
    """The runs in a folder, for as long as the text of its record is the same."""
    sweep = read_sweep(folder)
    return tuple(runs_of(with_settings(sweep) if provisional else sweep, folder))


def with_settings(sweep: Sweep) -> Sweep:
    """The sweep with the given settings for sizes whose tuned ones are not known yet: to tell what it will cost."""
    given = {agent: Settings(given_lr(sweep, size), sweep.shared.lanes) for agent, size in sweep.agents.items()}
    return dataclasses.replace(sweep, settings={**given, **sweep.settings}) if sweep.config.tune else sweep


def given_lr(sweep: Sweep, size: Size) -> float:
    """The learning rate of a size without tuning: as given, or by the rule."""
    lr = sweep.shared.optimizer.lr
    return rule_of(size.agent).peak(size.params, sweep.shared.batch) if lr == "auto" else lr


def _sizes_of_seed(sweep: Sweep, seed: int) -> dict[float, tuple[Size, ...]]:
    """The sizes that a seed trains at each of its budgets."""
    most = sweep.config.seeds_budget
    return {budget: sizes for budget, sizes in sweep.sizes.items() if seed == 0 or most is None or budget <= most}


def _trainings(sweep: Sweep, sizes: Mapping[float, Sequence[Size]]) -> Iterator[tuple[str, tuple[float, ...]]]:
    """Agent and budgets of each training: all of a size, unless the schedule ends at a budget."""
    budgets: dict[str, list[float]] = {}
    for budget, of_budget in sorted(sizes.items()):
        for size in of_budget:
            budgets.setdefault(size.agent, []).append(budget)
    for agent, of_agent in budgets.items():
        if sweep.shared.optimizer.schedule == "cosine":
            yield from ((agent, (budget,)) for budget in of_agent)
        else:
            yield agent, tuple(of_agent)


def varied(vary: str | None, shared: TrainConfig) -> list[TrainConfig]:
    """What runs share, once for each value of the option in which they differ.

    Raises: UserError: there is no such option, or a value is no number, or out of its range.
    """
    if vary is None:
        return [shared]
    name, _, values = vary.partition("=")
    numbers = {field for field, value in vars(shared).items() if isinstance(value, (int, float))} - OWN
    of_optimizer = {field for field in vars(shared.optimizer) if field not in ("scaling", "schedule")}
    if name not in numbers | of_optimizer or not values:
        raise UserError(f"--vary {vary}: write NAME=VALUE,… with one of {', '.join(sorted(numbers | of_optimizer))}")
    return [_with_value(shared, name, word) for word in values.split(",")]


def _with_value(shared: TrainConfig, name: str, word: str) -> TrainConfig:
    old = getattr(shared, name, 0.0)
    try:
        value = type(old)(word) if type(old) is int else float(word)
    except ValueError:
        raise UserError(f"--vary: {name}={word} is no number that {name} can have") from None
    if name == "window":
        if shared.batch % int(value):
            raise UserError(f"--vary: window={word} is no divisor of the batch of {shared.batch:,} samples")
        return dataclasses.replace(shared, window=int(value), lanes=shared.batch // int(value))
    if hasattr(shared, name):
        return dataclasses.replace(shared, **{name: value})
    optimizer = shared.optimizer
    changed = optimizer.at(value) if name == "lr" else dataclasses.replace(optimizer, **{name: value})
    return dataclasses.replace(shared, optimizer=changed)


def _run(
    sweep: Sweep, folder: Path, shared: TrainConfig, agent: str, budgets: tuple[float, ...], seed: int
) -> SweepRun:
    changes: dict[str, Any] = {}
    if chosen := sweep.settings.get(agent):
        changes = {"lanes": chosen.lanes, "optimizer": shared.optimizer.at(chosen.lr)}
    config = dataclasses.replace(
        shared, run=Path("run"), agent=agent, flops=budgets, init_seed=seed, data_seed=seed, **changes
    )
    return _named(sweep, folder, config, f"s{seed}", sweep.config.measured)


def _tried(sweep: Sweep, folder: Path) -> list[SweepRun]:
    """The runs that try settings, those of a size and batch as a population."""
    tune, shared = sweep.config.tune, sweep.shared
    sizes = {budget: sweep.sizes[budget] for budget in sweep.config.tuned_budgets if budget in sweep.sizes}
    batches = {shared.lanes, *(max(1, round(shared.lanes * factor)) for factor in sweep.config.tune_batch)}
    runs = []
    for agent, budgets in _trainings(sweep, sizes):
        size = sweep.agents[agent]
        given = given_lr(sweep, size)
        rates = sorted({given, *(float(f"{given * factor:.3g}") for factor in sweep.config.tune_lr)})
        population = f"lr={','.join(map(str, rates))}" if "lr" in tune else None
        optimizer = shared.optimizer.at(min(rates) if population else given)
        for lanes in sorted(batches) if "batch" in tune else [shared.lanes]:
            least = FEWEST_STEPS * lanes * shared.window
            given_batch = lanes == shared.lanes
            enough = tuple(budget for budget in budgets if given_batch or size.samples(budget) >= least)
            if enough:
                config = dataclasses.replace(
                    shared,
                    run=Path("run"),
                    agent=agent,
                    flops=enough,
                    lanes=lanes,
                    optimizer=optimizer,
                    population=population,
                )
                runs.append(_named(sweep, folder, config, f"b{config.batch}", {"episodes": 0}, tries=True))
    return sorted(runs, key=lambda run: (run.flops, run.name))


def _named(
    sweep: Sweep, folder: Path, config: TrainConfig, suffix: str, evaluation: Mapping[str, Any], *, tries: bool = False
) -> SweepRun:
    """A run with its name and its cells, which follow from its configuration."""
    decisive = {"config": result_fields(config), "store": sweep.checksum}
    name = f"{config.agent.partition('/')[2].replace('/', '-')}-{suffix}-{_digest(decisive)[:8]}"
    config = dataclasses.replace(config, run=folder / "runs" / name)
    cells = []
    for member in members_of(config):
        run, of_member = name, decisive
        if config.population is not None:
            # They are the same runs alone up to rounding only.
            run = f"{name}/{member.run.name}"
            of_member = decisive | {"config": result_fields(member), "population": config.population}
        for budget in config.flops:
            cells.append(Cell(run, budget, _digest(of_member | {"flops": budget, "eval": evaluation})[:16]))
    return SweepRun(name, config, tuple(cells), tries)


def _digest(values: object) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
