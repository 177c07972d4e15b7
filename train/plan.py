"""What follows from a configuration, its store and the ladder before anything is computed."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from agents.cost import CONVENTIONS, EXACT_VERSION, Cost
from agents.ladder import find
from agents.spec import Agent
from data.common.cli import UserError
from data.sampling.sampler import LaneSampler, MixedSampler, WindowSampler
from data.sampling.stream import Store, labelled, training_sampler
from data.store.mixture import open_stores
from train.config import TrainConfig, from_json, result_fields, to_json
from train.folder import is_run, read_runs
from train.mesh import lanes_of_host

Sampler = LaneSampler | WindowSampler | MixedSampler


@dataclass(frozen=True)
class Plan:
    """Agent, data and length of a run."""

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
    """FLOP budgets, smallest first."""
    steps: tuple[int, ...]
    """The optimiser step after which each budget is spent."""

    @staticmethod
    def of(config: TrainConfig) -> "Plan":
        """The plan of a configuration.

        Raises: UserError: the store can't be read, doesn't fit the agent, or a budget is no whole number of steps.
        """
        lanes_of_host(config.lanes)
        store = labelled(open_stores(config.stores, config.weights, config.games))
        agent = prepare_agent(config, store)
        if config.dropout and not agent.recurrent:
            raise UserError(f"{config.agent} has no dropout: leave --dropout out")
        cost = agent.cost(config.window)
        flops, version = _flops_of(config, cost)
        order = config.lanes, config.window, config.data_seed, config.order
        sampler = training_sampler(store, store.rows("train"), *order)
        budgets = tuple(sorted(config.flops))
        steps = _steps_of(budgets, flops[config.convention], sampler, config)
        if config.measure_every is not None and config.measure_every <= steps[-1]:
            _check_held_out(store)
        return Plan(agent, store, sampler, flops, version, cost.counted_params, budgets, steps)

    def description(self, config: TrainConfig) -> dict[str, Any]:
        """What `config.json` holds of the run."""
        return {
            "config": to_json(config),
            "store": {"paths": [str(path.resolve()) for path in config.stores], "checksum": self.store.checksum},
            "params": self.params,
            "flops_per_sample": self.flops,
            "flop_version": self.flop_version,
        }

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


def _flops_of(config: TrainConfig, cost: Cost) -> tuple[Mapping[str, int], int | None]:
    """FLOPs per sample by convention and the version of `exact`: as the run was begun, if it was, or as counted now.

    So the budgets of a run mean the same steps to the end.
    """
    if is_run(config.run):
        begun = read_runs(config.run)
        if result_fields(from_json(begun["config"])) == result_fields(config):
            return begun["flops_per_sample"], begun.get("flop_version")
    return {convention: cost.train_flops(convention) for convention in CONVENTIONS}, EXACT_VERSION


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
