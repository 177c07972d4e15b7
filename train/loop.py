"""The only training loop."""

import contextlib
import dataclasses
import sys
import time
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
from tqdm import tqdm

from agents.ladder import LadderAgent, computing, find
from data.common.cli import DelayedInterrupt, UserError
from data.sampling.sampler import LaneSampler, MixedSampler, WindowSampler
from data.sampling.stream import Store, batches, labelled, training_sampler
from data.spec import Batch
from data.store.mixture import open_stores
from train.checkpoint import Checkpoints, save_budget
from train.config import TrainConfig, result_fields, to_json
from train.folder import claim
from train.mesh import lanes_of_host, make_mesh, over_lanes, peak_flops, put, replicated, start_hosts
from train.metrics import MetricsRow, MetricsWriter
from train.optimizer import learning_rate, make_optimizer
from train.state import TrainState, init_state, kept_params
from train.step import StepMetrics, make_train_step


def train(config: TrainConfig, *, progress: bool = True) -> None:
    """Train to the largest budget; goes on where an interrupted run of the same configuration stopped.

    Raises `UserError` for a configuration that cannot be run, before anything is written.
    """
    start_hosts()
    plan = Plan.of(config)
    write_config(config, plan)
    mesh, last = make_mesh(), plan.steps[-1]
    optimizer = make_optimizer(config.optimizer, config.batch, last)
    train_step = make_train_step(
        plan.agent,
        optimizer,
        average=config.optimizer.average,
        dropout=config.dropout,
        seed=config.seed,
        mesh=mesh,
    )
    state = place(plan, config, optimizer, mesh)
    with contextlib.ExitStack() as stack:
        checkpoints = stack.enter_context(contextlib.closing(Checkpoints(config.run)))
        state = checkpoints.restore(state) or state
        start = int(state.step)
        log = stack.enter_context(contextlib.closing(Log(config, plan, start)))
        bar = stack.enter_context(progress_bar(config, start, last, shown=progress))
        interrupt = stack.enter_context(DelayedInterrupt())
        mine = lanes_of_host(config.lanes)
        options = config.lanes, config.window, config.seed, start, mine, config.threads
        stream = batches(plan.store, "train", *options, order=config.order)
        saved = time.monotonic()
        for step in range(start, last):
            batch = put(log.timed(stream), over_lanes(mesh))
            state, metrics = train_step(state, batch)
            # The step just dispatched still runs: what is logged is the one before it.
            log.add(step + 1, metrics, bar)
            if step + 1 in plan.steps:
                save_budget(config.run, kept_params(state), plan.facts(step + 1))
            due = time.monotonic() - saved > config.checkpoint_seconds
            if due or interrupt.requested or step + 1 == last:
                checkpoints.save(step + 1, state)
                saved = time.monotonic()
            if interrupt.requested:
                raise KeyboardInterrupt


def progress_bar(config: TrainConfig, start: int, last: int, *, shown: bool) -> tqdm:
    """A bar of optimiser steps on stderr, with the time left."""
    return tqdm(
        total=last,
        initial=start,
        desc=config.agent,
        unit="step",
        disable=not shown,
        file=sys.stderr,
        dynamic_ncols=True,
    )


@dataclasses.dataclass(frozen=True)
class Plan:
    """What follows from a configuration and its store."""

    agent: LadderAgent
    store: Store
    sampler: LaneSampler | WindowSampler | MixedSampler
    flops: dict[str, int]
    """Training FLOPs per sample by convention."""
    params: int
    """N: counted parameters."""
    budgets: tuple[float, ...]
    """Smallest first."""
    steps: tuple[int, ...]
    """Optimiser steps at which each budget is passed."""

    @staticmethod
    def of(config: TrainConfig) -> "Plan":
        """Check a configuration against its store and the ladder."""
        lanes_of_host(config.lanes)
        store = labelled(open_stores(config.stores, config.weights, config.games))
        agent = prepare_agent(config, store)
        if config.dropout and not agent.recurrent:
            raise UserError(f"{config.agent} has no dropout: leave --dropout out")
        cost = agent.cost(config.window)
        flops = {name: cost.train_flops(name) for name in ("exact", "paper")}
        per_sample = flops[config.convention]
        sampler = training_sampler(store, store.rows("train"), config.lanes, config.window, config.seed, config.order)
        ordered = tuple(sorted(config.flops))
        steps = tuple(steps_within(sampler, budget / per_sample) for budget in ordered)
        least = per_sample * config.batch
        if steps[0] < 1:
            raise UserError(
                f"budget {ordered[0]:g} is smaller than one step of {config.agent} with {config.batch} samples"
                f" ({least:.3g} FLOPs): raise --flops, or lower --lanes or --window"
            )
        if len(set(steps)) < len(steps):
            raise UserError(f"budgets {ordered} closer than one step ({least:.3g} FLOPs): leave one out")
        return Plan(agent, store, sampler, flops, cost.counted_params, ordered, steps)

    def facts(self, step: int) -> dict[str, Any]:
        """What a budget's checkpoint is told about itself."""
        samples = self.sampler.samples(step)
        return {
            "flops": self.budgets[self.steps.index(step)],
            "step": step,
            "samples": samples,
            "flops_exact": float(self.flops["exact"] * samples),
            "flops_paper": float(self.flops["paper"] * samples),
        }


def prepare_agent(config: TrainConfig, store: Store) -> LadderAgent:
    """The agent of a configuration with the actions of a store, computing in the dtype that it names."""
    agent = find(config.agent, len(store.manifest["actions"]), store.codec.observation)
    missing = set(agent.inputs) - set(store.codec.inputs)
    if missing:
        game = store.manifest["game"]
        raise UserError(f"{config.agent} reads {', '.join(sorted(missing))}; {config.store} holds games of {game}")
    return computing(agent, config.compute)


def steps_within(sampler: LaneSampler | WindowSampler | MixedSampler, samples: float) -> int:
    """The most steps whose samples are at most `samples`; the nearest below, since budgets are whole steps."""
    low, high = 0, 1
    while sampler.samples(high) <= samples:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if sampler.samples(middle) <= samples else (low, middle)
    return low


def write_config(config: TrainConfig, plan: Plan) -> None:
    """Write `config.json`, or refuse a folder that holds another run."""
    values = {
        "config": to_json(config),
        "store": {"paths": [str(path.resolve()) for path in config.stores], "checksum": plan.store.checksum},
        "params": plan.params,
        "flops_per_sample": plan.flops,
    }
    claim(config.run, values, result_fields(config))


def place(plan: Plan, config: TrainConfig, optimizer: Any, mesh: jax.sharding.Mesh) -> TrainState:
    """The fresh state, made where it will live: lanes over the devices, all else on each."""

    def fresh(key: jax.Array) -> TrainState:
        return init_state(plan.agent, optimizer, key, config.lanes, averaged=config.optimizer.average > 0)

    whole, lanes = replicated(mesh), over_lanes(mesh)
    where = TrainState(whole, whole, whole, whole, lanes)  # pyright: ignore[reportArgumentType]
    return jax.jit(fresh, out_shardings=where)(jax.random.key(config.seed))


class Log:
    """Turns steps into rows of metrics without making the host wait for the device."""

    def __init__(self, config: TrainConfig, plan: Plan, start: int) -> None:
        self._config, self._plan = config, plan
        self._writer = MetricsWriter(config.run, start) if jax.process_index() == 0 else None
        self._schedule = learning_rate(config.optimizer, config.batch, plan.steps[-1])
        self._peak = peak_flops(plan.agent.dtype)
        self._pending: list[StepMetrics] = []
        self._row_step, self._row_time, self._wait = start, time.perf_counter(), 0.0

    def timed(self, stream: Iterator[Batch]) -> Batch:
        """The next batch; the time until it came counts as input wait."""
        begin = time.perf_counter()
        batch = next(stream)
        self._wait += time.perf_counter() - begin
        return batch

    def add(self, step: int, metrics: StepMetrics, bar: tqdm) -> None:
        """Take the metrics of `step`; a full row is written one step late."""
        if self._pending and (step - 1) % self._config.log_every == 0:
            row = self._row(step - 1)
            bar.set_postfix_str(f"loss {row.loss:.3f}, {row.samples_per_s:,.0f} samples/s", refresh=False)
            bar.update(step - 1 - bar.n)
        self._pending.append(metrics)

    def _row(self, step: int) -> MetricsRow:
        stacked = [np.asarray(jax.device_get(column), np.float64) for column in zip(*self._pending, strict=True)]
        loss, top1, top3 = (float(column.mean()) for column in stacked[:3])
        now = time.perf_counter()
        seconds, plan = now - self._row_time, self._plan
        samples = plan.sampler.samples(step)
        rate = (samples - plan.sampler.samples(self._row_step)) / seconds
        row = MetricsRow(
            step=step,
            samples=samples,
            flops=float(plan.flops[self._config.convention] * samples),
            loss=loss,
            top1=top1,
            top3=top3,
            grad_norm=float(stacked[3][-1]),
            lr=float(self._schedule(step - 1)),
            samples_per_s=rate,
            mfu=rate * plan.flops["exact"] / self._peak,
            input_wait=self._wait / seconds,
        )
        if self._writer:
            self._writer.write(row)
        self._pending, self._row_step, self._row_time, self._wait = [], step, now, 0.0
        return row

    def close(self) -> None:
        """Write what is pending and close the files."""
        if self._pending:
            self._row(self._row_step + len(self._pending))
        if self._writer:
            self._writer.close()
