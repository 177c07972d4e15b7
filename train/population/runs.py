"""The runs that the training loop trains at once: one alone, or the members of a population."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax
from jax.sharding import Mesh

from agents.spec import Params
from data.common.cli import UserError
from train.checkpoint import save_budget
from train.config import TrainConfig, defaults_of, result_fields
from train.dev.episodes import Measured, PeriodicDevLoss
from train.failure.divergence import FILE, Diverged, diverged
from train.folder import claim, is_run, record_start
from train.hosts.agree import by_first
from train.input.blocks import block_size, bytes_of
from train.log import Window
from train.memory.settings import Settings, step_maker
from train.mesh import replicated
from train.metrics import MetricsWriter, Row
from train.plan import Plan
from train.population.members import members_of
from train.population.rows import PopulationRows, PopulationWriter, RowOf
from train.population.step import over_members, population_maker, population_state
from train.scaling import mup
from train.state import TrainState, init_state, state_shardings


class Runs:
    """The runs of a configuration, and which of them have diverged."""

    def __init__(self, config: TrainConfig, plan: Plan, mesh: Mesh) -> None:
        """Raises: UserError: the population is malformed, or a value is out of range."""
        self.configs = members_of(config)
        rising = [member.optimizer for member in self.configs if member.optimizer.final_lr > member.optimizer.peak]
        if rising and config.schedule != "constant" and not is_run(config.run):
            raise UserError(
                f"--final-lr {rising[0].final_lr:g} is more than --lr {rising[0].peak:g}, which should decay to it:"
                " give a lower --final-lr, or --schedule constant"
            )
        self._alone, self._config, self._plan, self._mesh = config.population is None, config, plan, mesh
        self._diverged: dict[int, Diverged] = {}

    @property
    def lanes_per_device(self) -> int:
        """Lanes of a run that one device computes."""
        whole = not self._alone and over_members(len(self.configs), self._mesh)
        return self._config.lanes if whole else self._config.lanes // self._mesh.size

    @property
    def block_size(self) -> int:
        """Steps that one dispatch computes at most."""
        config, plan, devices = self._config, self._plan, self._mesh.size
        if config.steps_per_dispatch != "auto":
            return config.steps_per_dispatch
        flops = plan.flops["exact"] * config.batch * len(self.configs)
        return block_size(flops / devices, config.batch * bytes_of(plan.store.codec.observation) // devices)

    def step_maker(
        self, optimizer: optax.GradientTransformation, block: int
    ) -> Callable[[Settings], jax.stages.Wrapped]:
        """A function from settings to all runs' jitted steps of a block; `optimizer` is that of a run alone."""
        config, agent = self._config, self._plan.agent
        if not self._alone:
            return population_maker(agent, self.configs, self._plan.steps[-1], self._mesh, block)
        return step_maker(
            agent,
            optimizer,
            average=config.optimizer.average,
            dropout=config.dropout,
            seed=config.init_seed,
            max_skipped=config.max_skipped,
            decay_to=config.optimizer.decay_to if self._plan.branched else None,
            mesh=self._mesh,
            block=block,
        )

    def claim(self) -> None:
        """Make the members' folders, which hold what those of runs alone would.

        Raises: UserError: in every process; see `train.folder.claim`.
        """
        if self._alone:
            return
        for member in self.configs:
            described = self._plan.description(member) | {"population": self._config.population}
            if member.optimizer.lr != self._config.optimizer.lr:
                described["lr_rule"] = None
            by_first(partial(claim, member.run, described, result_fields(member), defaults_of(TrainConfig)))
            record_start(member.run)

    def fresh_state(self, optimizer: optax.GradientTransformation) -> TrainState:
        """The state before the first step; `optimizer` is that of a run alone."""
        config, plan, mesh = self._config, self._plan, self._mesh
        if self._alone:
            return fresh_state(plan, config, optimizer, mesh)
        return population_state(plan.agent, self.configs, plan.steps[-1], mesh, carried=config.order == "lanes")

    @property
    def saved(self) -> dict[str, str] | None:
        """The fields of the state that checkpoints hold, as of `Checkpoints`: members can't repeat skipped steps."""
        return None if self._alone else {name: name for name in TrainState._fields if name not in ("decay", "hyper")}

    @property
    def writer(self) -> Callable[[Path, int, str], Any]:
        """What opens the writer of metrics, see `MetricsWriter`."""
        return MetricsWriter if self._alone else lambda _, step, axis: PopulationWriter(self.configs, step, axis)

    def row_of(self, of_runs: Sequence[RowOf]) -> Callable[[Window[Any]], Row]:
        """The function from metrics to a row, given that of each run."""
        return of_runs[0] if self._alone else PopulationRows(of_runs, self._diverged)

    def trained(self, params: Params) -> Iterator[tuple[int, TrainConfig, Params]]:
        """Number, configuration and parameters of each run that has not diverged."""
        for number, config in enumerate(self.configs):
            if number not in self._diverged:
                yield number, config, params if self._alone else _member(params, number, self._mesh)

    def save_budgets(self, params: Params, facts: dict[str, Any]) -> None:
        """Save the parameters of each run that has not diverged at a budget; see `save_budget`."""
        for _, config, mine in self.trained(params):
            save_budget(config.run, mine, facts)

    def measure(self, dev: PeriodicDevLoss, step: int, params: Params) -> Any:
        """The dev loss of each run, if it is due; see `PeriodicDevLoss.measure`."""
        if self._alone or not dev.due(step):
            return dev.measure(step, params)
        measured = {number: dev.measure(step, mine) for number, _, mine in self.trained(params)}
        seconds = sum(one.seconds for one in measured.values() if one)
        return {number: Measured(one.row, seconds) for number, one in measured.items() if one}

    def resume(self, state: TrainState) -> None:
        """Note the runs that have diverged before a checkpoint with this state.

        A member that diverged in a branch has not in the state of the trunk, with which the others go on.
        """
        for number, member in enumerate(() if self._alone else self.configs):
            if (member.run / FILE).exists():
                self._diverged[number] = Diverged(f"{member.run} diverged: see {FILE}")
        self.failed(np.asarray(state.skipped) >= self._config.max_skipped, state)

    def failed(self, reached: np.ndarray, state: TrainState) -> bool:
        """Whether all runs have diverged: those that have newly `reached` the limit of skipped steps are noted."""
        new = [number for number in np.flatnonzero(reached).tolist() if number not in self._diverged]
        if new:
            batches = np.atleast_1d(np.asarray(state.step) - np.asarray(state.skipped))
            for number in new:
                batch, run = int(batches[number]), self.configs[number].run
                store, sampler, limit = self._plan.store, self._plan.sampler, self._config.max_skipped
                self._diverged[number] = diverged(run, store, sampler, batch, limit)
        return len(self._diverged) == len(self.configs)

    def check(self) -> None:
        """Raise an error if a run has diverged.

        Raises: Diverged: it names them.
        """
        if not self._diverged:
            return
        if self._alone:
            raise self._diverged[0]
        names = ", ".join(self.configs[number].run.name for number in self._diverged)
        raise Diverged(
            f"{len(self._diverged)} of {len(self.configs)} members of {self._config.run} diverged, from the batches"
            f" that {FILE} of each names: {names}"
        )


def fresh_state(plan: Plan, config: TrainConfig, optimizer: Any, mesh: Mesh) -> TrainState:
    """The state before the first step, computed on the devices that hold it."""
    carried, averaged = config.order == "lanes", config.optimizer.average > 0

    def init(key: jax.Array) -> TrainState:
        carry = plan.agent.initial_carry(config.lanes) if carried else ()
        params = mup.init(plan.agent, key) if config.optimizer.scaling == "mup" else plan.agent.init(key)
        return init_state(params, optimizer, averaged=averaged, carry=carry)

    shardings = state_shardings(plan.agent, optimizer, mesh, averaged=averaged)
    return jax.jit(init, out_shardings=shardings)(jax.random.key(config.init_seed))


@partial(jax.jit, static_argnames="mesh")
def _member(tree: Any, number: int, mesh: Mesh) -> Any:
    """A member's part of arrays [M, …], on every device."""
    part = jax.tree.map(lambda x: jax.lax.dynamic_index_in_dim(x, number, keepdims=False), tree)
    return jax.lax.with_sharding_constraint(part, replicated(mesh))
