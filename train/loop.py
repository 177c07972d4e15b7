"""The training loop of behavioural cloning."""

import contextlib
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from data.common.cli import DelayedInterrupt
from data.sampling.stream import batches
from train.checkpoint import Checkpoints, save_budget
from train.config import TrainConfig, defaults_of, result_fields
from train.dev.episodes import Measured, PeriodicDevLoss
from train.folder import claim
from train.log import Log, Stopwatch, Window
from train.mesh import lanes_of_host, make_mesh, over_lanes, peak_flops, put, replicated, start_hosts
from train.metrics import MetricsRow, peak_memory
from train.optimizer import bc_optimizer, learning_rate
from train.plan import Plan
from train.state import TrainState, init_state, kept_params
from train.step import StepMetrics, make_train_step


def train(config: TrainConfig, *, progress: bool = True) -> None:
    """Train to the largest budget, from the last checkpoint if the run was interrupted.

    Raises: UserError: the configuration cannot be run (nothing is written then), or the disk is full.
    """
    start_hosts()
    plan = Plan.of(config)
    claim(config.run, plan.description(config), result_fields(config), defaults_of(TrainConfig))
    mesh, last = make_mesh(), plan.steps[-1]
    optimizer = bc_optimizer(config.optimizer, config.batch, last)
    train_step = make_train_step(
        plan.agent,
        optimizer,
        average=config.optimizer.average,
        dropout=config.dropout,
        seed=config.seed,
        mesh=mesh,
    )
    state = fresh_state(plan, config, optimizer, mesh)
    with contextlib.ExitStack() as stack:
        checkpoints = stack.enter_context(contextlib.closing(Checkpoints(config.run, config.checkpoint_seconds)))
        state = checkpoints.restore(state) or state
        steps = range(int(state.step), last)
        waiting, row_of = Stopwatch(), rows_of(config, plan)
        axis = "step" if config.tensorboard_axis == "steps" else config.tensorboard_axis
        log = Log(config.run, steps, config.log_every, waiting, row_of, name=config.agent, progress=progress, axis=axis)
        stack.enter_context(contextlib.closing(log))
        interrupt = stack.enter_context(DelayedInterrupt())
        mine = lanes_of_host(config.lanes)
        options = config.lanes, config.window, config.seed, steps.start, mine, config.threads
        stream = batches(plan.store, "train", *options, order=config.order)
        dev = PeriodicDevLoss(plan.agent, plan.store, mesh, config.measure_every, config.dev_samples)
        for step in steps:
            with waiting:
                batch = next(stream)
            state, metrics = train_step(state, put(batch, over_lanes(mesh)))
            # The step was only dispatched. While it runs, a row is written of those before it.
            log.write_due()
            measured = dev.measure(step + 1, kept_params(state))
            log.add(step + 1, (metrics, measured), ends_row=measured is not None)
            if step + 1 in plan.steps:
                save_budget(config.run, kept_params(state), plan.spent(step + 1))
            if checkpoints.due or interrupt.requested or step + 1 == last:
                # A run that is killed later resumes here, and would not write this row again.
                log.write_due()
                checkpoints.save(step + 1, state)
            if interrupt.requested:
                raise KeyboardInterrupt


def fresh_state(plan: Plan, config: TrainConfig, optimizer: Any, mesh: Mesh) -> TrainState:
    """The state before the first step, computed on the devices that hold it: lanes sharded, the rest replicated."""

    def init(key: jax.Array) -> TrainState:
        params, averaged = plan.agent.init(key), config.optimizer.average > 0
        return init_state(params, optimizer, averaged=averaged, carry=plan.agent.initial_carry(config.lanes))

    whole, lanes = replicated(mesh), over_lanes(mesh)
    shardings = TrainState(whole, whole, whole, whole, lanes)  # pyright: ignore[reportArgumentType]
    return jax.jit(init, out_shardings=shardings)(jax.random.key(config.seed))


Record = tuple[StepMetrics, Measured | None]
"""What is logged of a step: its metrics, and the dev loss if it was measured after it."""


def rows_of(config: TrainConfig, plan: Plan) -> Callable[[Window[Record]], MetricsRow]:
    """A function from the metrics of several steps to a row."""
    schedule = learning_rate(config.optimizer, config.batch, plan.steps[-1])
    peak = peak_flops(plan.agent.dtype)

    epoch = int(plan.store.lengths[plan.store.rows("train")].sum())

    def row_of(window: Window[Record]) -> MetricsRow:
        steps = jax.device_get([metrics for metrics, _ in window.records])
        means = dict(zip(StepMetrics._fields, np.asarray(steps, np.float64).mean(axis=0).tolist(), strict=True))
        measured = window.records[-1][1]
        dev = measured and measured.row
        seconds = window.seconds - (measured.seconds if measured else 0)
        samples = plan.sampler.samples(window.step)
        rate = (samples - plan.sampler.samples(window.after)) / seconds
        return MetricsRow(
            step=window.step,
            samples=samples,
            epochs=samples / epoch,
            flops=float(plan.flops[config.convention] * samples),
            loss=means["loss"],
            top1=means["top1"],
            top3=means["top3"],
            entropy=means["entropy"],
            grad_norm=float(steps[-1].grad_norm),
            update_norm=float(steps[-1].update_norm),
            lr=float(schedule(window.step - 1)),
            dev_loss=dev and dev.loss,
            dev_loss_se=dev and dev.loss_se,
            dev_top1=dev and dev.top1,
            dev_top3=dev and dev.top3,
            dev_seconds=measured and measured.seconds,
            samples_per_s=rate,
            mfu=rate * plan.flops["exact"] / peak,
            input_wait=window.timed / seconds,
            device_memory=peak_memory(),
        )

    return row_of
