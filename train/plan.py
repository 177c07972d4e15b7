"""What follows from a configuration, its store and the ladder before anything is computed."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from agents.cost import CONVENTIONS, EXACT_VERSION, Cost
from agents.ladder import VERSION, find
from agents.spec import Agent
from data.common.cli import UserError
from data.sampling.sampler import LaneSampler, MixedSampler, WindowSampler
from data.sampling.stream import Store, labelled, training_sampler
from data.store.mixture import open_stores
from train.checkpoint import newest
from train.config import TrainConfig, from_json, result_fields, to_json
from train.folder import is_run, near, read_runs
from train.mesh import lanes_of_host
from train.scaling.mup import base_of
from train.scaling.rule import rule_of
from train.schedule.segments import Branch, Segment, extended, trunk_alone, with_branches

Sampler = LaneSampler | WindowSampler | MixedSampler


@dataclass(frozen=True)
class Plan:
    """Agent, data and length of a run."""

    config: TrainConfig
    """The configuration, with the agent's name in canonical form and a learning rate."""
    lr_rule: str | None
    """The rule that the learning rate is by; None if it was given."""
    agent: Agent
    store: Store
    sampler: Sampler
    flops: Mapping[str, int]
    """Training FLOPs per sample by convention."""
    flop_version: int | None
    """Version of the `exact` convention; None is 1."""
    params: int
    """N, the counted parameters."""
    budgets: tuple[float, ...]
    """FLOP budgets, smallest first, with those that the run has begun and `config` does not name."""
    steps: tuple[int, ...]
    """The optimiser step after which each budget is spent."""
    segments: tuple[Segment, ...]
    """Stretches of the trunk and branches, in the order in which they are trained."""

    @property
    def branched(self) -> bool:
        """Whether the run has a branch for each budget."""
        return self.segments[-1].branch is not None

    @staticmethod
    def of(config: TrainConfig) -> "Plan":
        """The plan of a configuration.

        Raises: UserError: the store can't be read, doesn't fit the agent, or a budget is no whole number of steps, or
            can't be added any more to a run with branches.
        """
        lanes_of_host(config.lanes)
        config = _with_stores(config)
        store = labelled(open_stores(config.stores, config.weights, config.games))
        agent = prepare_agent(config, store)
        if config.dropout and not agent.recurrent:
            raise UserError(f"{config.agent} has no dropout: leave --dropout out")
        cost = agent.cost(config.window)
        optimizer, rule = config.optimizer, None
        if optimizer.lr == "auto":
            rule = rule_of(agent.name)
            ruled = base_of(agent).cost(config.window) if optimizer.scaling == "mup" else cost
            optimizer = dataclasses.replace(optimizer, lr=rule.peak(ruled.counted_params, config.batch))
        config = dataclasses.replace(config, agent=agent.name, optimizer=optimizer)
        flops, version = _flops_of(config, cost)
        order = config.lanes, config.window, config.data_seed, config.order
        sampler = training_sampler(store, store.rows("train"), *order)
        budgets, steps, segments = _segments_of(config, flops[config.convention], sampler)
        if config.measure_every is not None and config.measure_every <= steps[-1]:
            _check_held_out(store)
        return Plan(
            config,
            rule and str(rule),
            agent,
            store,
            sampler,
            flops,
            version,
            cost.counted_params,
            budgets,
            steps,
            segments,
        )

    def description(self, config: TrainConfig) -> dict[str, Any]:
        """What `config.json` holds of the run."""
        told = dataclasses.replace(config, flops=self.budgets) if self.branched else config
        return {
            "config": to_json(told),
            "store": {
                "paths": [str(path.resolve()) for path in self.config.stores],
                "checksum": self.store.checksum,
                "checksums": [store.checksum for store in self.store.stores],
            },
            "params": self.params,
            "lr_rule": self.lr_rule,
            "flops_per_sample": self.flops,
            "flop_version": self.flop_version,
            "ladder": VERSION,
        }

    def samples_of_run(self, segment: Segment, step: int) -> int:
        """Samples seen up to `step` of a segment, those of earlier branches included."""
        count = self.sampler.samples
        before = self.segments[: self.segments.index(segment)]
        return sum(count(each.stop) - count(each.start) for each in before) + count(step) - count(segment.start)

    def spent(self, step: int) -> dict[str, Any]:
        """What `budget.json` holds of the budget that is spent at `step`."""
        samples = self.sampler.samples(step)
        return {
            "flops": self.budgets[self.steps.index(step)],
            "step": step,
            "samples": samples,
            "flops_exact": float(self.flops["exact"] * samples),
            "flops_paper": float(self.flops["paper"] * samples),
        }


def _with_stores(config: TrainConfig) -> TrainConfig:
    """The configuration with its stores where they are now: those of a run that was moved with them lie beside it."""
    if all(path.exists() for path in config.stores) or not is_run(config.run):
        return config
    store, *mix = near(config.stores, read_runs(config.run)["store"], config.run)
    return dataclasses.replace(config, store=store, mix=tuple(mix))


def prepare_agent(config: TrainConfig, store: Store) -> Agent:
    """The agent of a configuration, for the actions of a store, as JAX's default backend computes it best.

    Raises: UserError: there is no such agent, or it reads what the store does not hold.
    """
    agent = find(config.agent, len(store.manifest["actions"]), store.codec.observation)
    missing = set(agent.inputs) - set(store.codec.inputs)
    if missing:
        game = store.manifest["game"]
        raise UserError(f"{config.agent} reads {', '.join(sorted(missing))}; {config.store} holds games of {game}")
    return agent.for_backend(config.compute)


def _check_held_out(store: Store) -> None:
    """Raise `UserError` if the store has no episodes to measure the dev loss on."""
    try:
        store.rows("dev")
    except UserError as error:
        raise UserError(f"{error}, or train without dev loss: --dev-every never") from None


def steps_within(sampler: Sampler, samples: float) -> int:
    """The largest number of steps that see at most `samples` samples."""
    low, high = 0, 1
    while sampler.samples(high) <= samples:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if sampler.samples(middle) <= samples else (low, middle)
    return low


def _begun(config: TrainConfig) -> dict[str, Any] | None:
    """The `config.json` of the run, if it was begun with this configuration."""
    if not is_run(config.run):
        return None
    begun = read_runs(config.run)
    return begun if result_fields(from_json(begun["config"])) == result_fields(config) else None


def _flops_of(config: TrainConfig, cost: Cost) -> tuple[Mapping[str, int], int | None]:
    """FLOPs per sample by convention and the version of `exact`: as the run was begun, if it was, or as counted now.

    So the budgets of a run mean the same steps to the end.
    """
    begun = _begun(config)
    if begun is not None:
        return begun["flops_per_sample"], begun.get("flop_version")
    return {convention: cost.train_flops(convention) for convention in CONVENTIONS}, EXACT_VERSION


def _segments_of(
    config: TrainConfig, per_sample: int, sampler: Sampler
) -> tuple[tuple[float, ...], tuple[int, ...], tuple[Segment, ...]]:
    """Budgets, the steps at which they are spent, and the segments of the run."""
    budgets = tuple(sorted(config.flops))
    steps = _steps_of(budgets, per_sample, sampler, config)
    if config.schedule != "wsd":
        return budgets, steps, trunk_alone(steps)
    begun = _begun(config)
    asked = branches = _branches(config, budgets, steps, sampler)
    if begun is not None:
        told = tuple(sorted(begun["config"]["flops"]))
        before = _branches(config, told, _steps_of(told, per_sample, sampler, config), sampler)
        branches = extended(before, newest(config.run), asked)
    budgets, steps = tuple(each.budget for each in branches), tuple(each.stop for each in branches)
    return budgets, steps, with_branches(branches)


def _branches(config: TrainConfig, budgets: Sequence[float], steps: Sequence[int], sampler: Sampler) -> list[Branch]:
    """The branch of each budget, which starts where all but the fraction `decay` of its samples were seen."""
    trunk = 1 - config.optimizer.decay
    return [
        Branch(budget, steps_within(sampler, trunk * sampler.samples(step)), step)
        for budget, step in zip(budgets, steps, strict=True)
    ]


def _steps_of(budgets: tuple[float, ...], per_sample: int, sampler: Sampler, config: TrainConfig) -> tuple[int, ...]:
    """The last step within each budget."""
    steps = tuple(steps_within(sampler, budget / per_sample) for budget in budgets)
    least = per_sample * config.batch
    if steps[0] < 1:
        raise UserError(
            f"budget {budgets[0]:g} is smaller than one step of {config.agent} with {config.batch} samples"
            f" ({least:.3g} FLOPs): raise --flops, or lower --lanes or --window"
        )
    if len(set(steps)) < len(steps):
        raise UserError(f"budgets {budgets} closer than one step ({least:.3g} FLOPs): leave one out")
    return steps
