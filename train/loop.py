"""The training loop of behavioural cloning."""

import contextlib
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from data.common.cli import DelayedInterrupt
from train.checkpoint import Checkpoints, Restored
from train.compile.profile import profiled
from train.config import TrainConfig, defaults_of, result_fields, to_json
from train.dev.episodes import PeriodicDevLoss
from train.failure.determinism import require_deterministic_kernels
from train.failure.skipping import SkipLimit
from train.folder import claimed, record_start, resolved
from train.hosts.agree import SAVE, Agreement, same_everywhere, together
from train.hosts.leave import Stop
from train.input.blocks import blocks
from train.input.transfer import read_ahead, transferred
from train.log import Log, Stopwatch
from train.memory.fit import FittedStep
from train.memory.settings import candidates
from train.mesh import lanes_of_host, make_mesh, put, replicated
from train.optimizer import bc_optimizer
from train.plan import Plan
from train.population.runs import Runs
from train.rows import Record, rows_of
from train.schedule.segments import Segment, branch_open, remaining
from train.state import TrainState, kept_params


def train(config: TrainConfig, *, progress: bool = True) -> None:
    """Train to the largest budget, from the last checkpoint if the run was interrupted.

    Processes that have joined (`train.hosts.start`) train together.

    Raises: UserError: the configuration cannot be run (nothing is written then), or the disk is full; `Diverged`:
        `config.max_skipped` steps in a row were not finite.
    """
    if config.deterministic:
        require_deterministic_kernels()
    same_everywhere(to_json(config))
    config = together(lambda: resolved(config))
    plan = together(lambda: Plan.of(config))
    config = plan.config
    mesh = make_mesh(fsdp=config.fsdp)
    runs = together(lambda: Runs(config, plan, mesh))
    settings = candidates(plan.agent, runs.lanes_per_device, config.window, config.microbatch, config.remat)
    optimizer = bc_optimizer(config.optimizer, config.batch, plan.steps[-1], plan.agent)
    size, every = runs.block_size, [steps for steps in (config.log_every, config.measure_every) if steps]
    train_steps = FittedStep(runs.step_maker(optimizer, size), settings, held=plan.branched)
    with contextlib.ExitStack() as stack:
        identity = plan.description(config), result_fields(config), defaults_of(TrainConfig)
        stack.enter_context(claimed(config.run, *identity))
        record_start(config.run)
        runs.claim()
        fresh = Restored(0, runs.fresh_state(optimizer), None)
        checkpoints = Checkpoints(config.run, config.checkpoint_seconds, runs.saved)
        stack.enter_context(contextlib.closing(checkpoints))
        position, state, trunk = checkpoints.restore(fresh.state, partial(branch_open, plan.segments)) or fresh
        runs.resume(state)
        positions = range(position, plan.segments[-1].end)
        if config.profile:
            train_steps = stack.enter_context(profiled(train_steps, config.run))
        waiting, row_of = Stopwatch(), runs.row_of([rows_of(run, plan) for run in runs.configs])
        axis = "step" if config.tensorboard_axis == "steps" else config.tensorboard_axis
        shown = {"progress": progress, "axis": axis, "writer": runs.writer}
        log = Log(config.run, positions, config.log_every, waiting, row_of, **shown)
        stack.enter_context(contextlib.closing(log))
        interrupt, agreement = stack.enter_context(DelayedInterrupt()), Agreement()
        mine = lanes_of_host(config.lanes)
        dev = PeriodicDevLoss(plan.agent, plan.store, mesh, config.measure_every, config.dev_samples)
        for segment, start in remaining(plan.segments, position):
            with log.paused:
                state, trunk = entered(segment, state, trunk, mesh)
            log.enter(start, segment.offset, segment.name)
            skips = SkipLimit(config.max_skipped)
            options = {"start": start, "lane_range": mine, "threads": config.threads, "order": config.order}
            read = read_ahead(plan.agent, plan.store, config.lanes, config.window, config.data_seed, **options)
            cut = blocks(start, segment.stop, size, at=segment.spends, every=every)
            for steps, block in waiting.timed(transferred(read, mesh, cut, size)):
                with log.paused:
                    train_steps.compile(state, block)
                state, metrics = train_steps(state, block)
                # The steps were only dispatched. While they run, a row is written of those before them.
                log.write_due()
                done, spent = steps.stop, steps.stop in segment.spends
                position, ends = done + segment.offset, done == segment.stop
                measured = runs.measure(dev, done, kept_params(state))
                log.add(done, Record(metrics, len(steps), measured, segment), ends_row=ends or measured is not None)
                decision = agreement.decide(save=checkpoints.due, stop=interrupt.signal)
                saves = decision > 0 or position == positions.stop
                failed = runs.failed(skips.reached(metrics.skipped, now=ends or spent or saves), state)
                if spent:
                    runs.save_budgets(kept_params(state), plan.spent(done))
                if ends and trunk is not None and not failed:
                    state, trunk = trunk, None
                if saves or failed:
                    # A run that is killed later resumes here, and would not write this row again.
                    log.write_due()
                    checkpoints.save(state, position=position, trunk=trunk)
                if failed:
                    runs.check()
                if decision > SAVE:
                    raise Stop(decision)
        runs.check()


def entered(
    segment: Segment, state: TrainState, trunk: TrainState | None, mesh: Mesh
) -> tuple[TrainState, TrainState | None]:
    """The state with which a segment begins or goes on, and that of the trunk, which the branch leaves as it is."""
    none, decay = (put(np.asarray(value, np.int32), replicated(mesh)) for value in (0, segment.decay))
    if not state.skipped.ndim:
        # Members of a population keep their counts: who has reached the limit has diverged.
        state = state._replace(skipped=none)
    if segment.branch is not None and trunk is None:
        trunk = state
        # The training step is given its state's buffers.
        state = jax.jit(partial(jax.tree.map, jnp.copy), out_shardings=jax.tree.map(lambda x: x.sharding, state))(state)
    return state._replace(decay=decay), trunk
