"""The runs of a sweep: trainings, each of which makes the cells of its budgets."""

import dataclasses
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from laws.sweep.config import Sweep
from train.config import TrainConfig, result_fields


@dataclass(frozen=True)
class Cell:
    """A checkpoint: one training at one budget."""

    flops: float
    key: str
    """Hex digits of the hash of all that determines its row: configuration, store, budget and evaluation."""


@dataclass(frozen=True)
class SweepRun:
    """A training, and the cells that it makes."""

    name: str
    """Name of its folder, which the hash of its configuration is part of."""
    config: TrainConfig
    cells: tuple[Cell, ...]

    @property
    def flops(self) -> float:
        """Training FLOPs: of its largest budget, and of the branches that decay to the smaller ones."""
        decay = self.config.optimizer.decay if self.config.schedule == "wsd" else 0.0
        *smaller, largest = sorted(self.config.flops)
        return largest + decay * sum(smaller)


def runs_of(sweep: Sweep, folder: Path) -> list[SweepRun]:
    """The runs of a sweep whose folder is `folder`, in the order in which they are to be started.

    Those with the smallest largest budget come first, so that the laws are known early and grow; of these the first
    seeds, and the sizes in the middle of their budget, where the optimum is expected.
    """
    runs = [
        _run(sweep, folder, agent, budgets, seed)
        for seed in range(sweep.config.seeds)
        for agent, budgets in _trainings(sweep)
    ]
    middle = {
        (agent, budget): abs(place - (len(agents) - 1) / 2)
        for budget, agents in sweep.sizes.items()
        for place, agent in enumerate(agents)
    }

    def order(run: SweepRun) -> tuple[float, int, float, str]:
        largest = max(run.config.flops)
        return largest, run.config.init_seed, middle[run.config.agent, largest], run.name

    return sorted(runs, key=order)


def _trainings(sweep: Sweep) -> Iterator[tuple[str, tuple[float, ...]]]:
    """Agent and budgets of each training: all of a size, unless the schedule ends at a budget."""
    budgets: dict[str, list[float]] = {}
    for budget, agents in sorted(sweep.sizes.items()):
        for agent in agents:
            budgets.setdefault(agent, []).append(budget)
    for agent, of_agent in budgets.items():
        if sweep.shared.optimizer.schedule == "cosine":
            yield from ((agent, (budget,)) for budget in of_agent)
        else:
            yield agent, tuple(of_agent)


def _run(sweep: Sweep, folder: Path, agent: str, budgets: tuple[float, ...], seed: int) -> SweepRun:
    config = dataclasses.replace(
        sweep.shared, run=Path("run"), agent=agent, flops=budgets, init_seed=seed, data_seed=seed
    )
    decisive = {"config": result_fields(config), "store": sweep.checksum}
    name = f"{agent.partition('/')[2].replace('/', '-')}-s{seed}-{_digest(decisive)[:8]}"
    asked = dataclasses.asdict(sweep.config)
    evaluation = {field: asked[field] for field in ("episodes", "max_steps", "character", "protocol")}
    cells = (Cell(budget, _digest(decisive | {"flops": budget, "eval": evaluation})[:16]) for budget in budgets)
    return SweepRun(name, dataclasses.replace(config, run=folder / "runs" / name), tuple(cells))


def _digest(values: object) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
