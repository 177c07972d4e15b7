"""Evaluation of runs: dev loss and returns of each checkpoint, one result row per checkpoint and protocol."""

import json
import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import jax

from agents.overrides import core_and_size
from agents.spec import Agent, Params
from data.collect.nethack import folder_of as folder_of_recording
from data.common.cli import UserError
from data.common.files import replace_text
from data.common.paths import absolute
from data.common.progress import count
from data.common.rows import as_record
from data.sampling.stream import Store, epoch
from eval.config import EvalConfig
from eval.events import Shown, write_events
from eval.pictures import Pictures, make_pictures
from eval.play.options import Row, Task, play_of, protocol
from eval.play.records import Games, folder_of, recordings
from eval.results import ResultRow, write_rows
from eval.statistics import Interval, mean_interval
from train.checkpoint import Budget, budget_name, budgets, load_budget
from train.config import TrainConfig, config_hash, from_json
from train.dev.episodes import DevSet, some_pieces
from train.dev.loss import LossRow
from train.folder import devices_of, dtype_of, read_run, store_of
from train.mesh import make_mesh, replicated
from train.metrics import read_metrics, training_seconds
from train.plan import prepare_agent

ROW = "row.json"
"""File with the result row of a checkpoint and protocol."""


@dataclass(frozen=True)
class _Checkpoint:
    """A checkpoint that is evaluated."""

    run: Path
    described: dict[str, Any]
    trained: TrainConfig
    store: Store
    agent: Agent
    budget: Budget

    @property
    def folder(self) -> Path:
        return self.run / "budgets" / budget_name(self.budget.flops)

    @property
    def game(self) -> str:
        return self.store.manifest["game"]

    @property
    def dtype(self) -> str | None:
        """The dtype of the computation, if it is not the run's."""
        return None if self.agent.dtype == dtype_of(self.described) else self.agent.dtype

    def params(self) -> Params:
        return load_budget(self.run, self.budget, self.agent)


def evaluate(config: EvalConfig, *, progress: bool = True) -> list[ResultRow]:
    """Evaluate the selected checkpoints of runs and write `runs.jsonl` and `runs.csv` to each run's folder.

    An evaluation only adds: what a checkpoint has been measured for is kept by protocol and seed, and not measured
    again, since a game depends only on its seed, the parameters and the protocol. The checkpoints share the workers:
    while the last games of one are played, those of the next begin.

    Args:
        config: The runs, their budgets to evaluate, and how to play.
        progress: Whether to show a progress bar on stderr.

    Returns:
        The rows of all evaluated checkpoints of the runs, by run, the smallest budget first.

    Raises:
        UserError: There is no such run or budget, a store is missing or has changed, a checkpoint is damaged, or
            the game does not support an option.
    """
    evaluations = play_missing(config, progress=progress)
    shown = {run: [one for one in evaluations if one.checkpoint.run == run and one.games] for run in config.runs}
    if config.film:
        for game in dict.fromkeys(one.checkpoint.game for one in evaluations):
            last = [of[-1].pictures for of in shown.values() if of and of[-1].checkpoint.game == game]
            make_pictures(last, game, config.options(game))
    for run, of in shown.items():
        write_rows(run / "runs.jsonl", rows_of(run, training_time=config.training_time))
        if of:
            checkpoints_shown = [Shown(one.checkpoint.budget.flops, one.games, one.pictures.read()) for one in of]
            write_events(run, of[0].protocol, checkpoints_shown)
    return [row for run in config.runs for row in rows_of(run, training_time=config.training_time)]


def play_missing(config: EvalConfig, *, progress: bool = True) -> list["Evaluation"]:
    """Measure what is missing of the selected checkpoints, and write their result rows; arguments as of `evaluate`.

    Raises:
        UserError: As of `evaluate`.
    """
    checkpoints = [checkpoint for run in config.runs for checkpoint in _checkpoints(run, config)]
    for game in {checkpoint.game for checkpoint in checkpoints}:
        play_of(game).check(game, config.options(game), config.seeds)
        if config.record is not None and not play_of(game).records:
            raise UserError(f"--record: games of {game} cannot be recorded, only NetHack's")
    dev_sets = lru_cache(maxsize=1)(_dev_set)  # The checkpoints of a run share it, and what it has read.
    evaluations = [Evaluation(checkpoint, config, dev_sets) for checkpoint in checkpoints]
    dev_sets.cache_clear()
    for game in dict.fromkeys(checkpoint.game for checkpoint in checkpoints):
        tasks = [one.task for one in evaluations if one.checkpoint.game == game and one.missing]
        play_of(game).play_agents(tasks, game, config.options(game), progress=progress)
    for one in evaluations:
        if not one.finished:
            one.finish()
    return evaluations


class Evaluation:
    """The dev loss and the games of one checkpoint."""

    def __init__(self, checkpoint: _Checkpoint, config: EvalConfig, dev_sets: "DevSets") -> None:
        """Measure the dev loss, if it was not yet, and find the games that are missing."""
        self.checkpoint = checkpoint
        self._dev_steps, self._dev_sets = config.dev_steps, dev_sets
        game, dtype = checkpoint.game, checkpoint.dtype
        self.protocol = ", ".join(
            [protocol(game, config.options(game), config.seed), *([f"in {dtype}"] if dtype else [])]
        )
        shard, shards = config.part
        part = (config.shard or "").replace("/", "-of-")
        self._games = Games(checkpoint.folder, checkpoint.budget.digest, self.protocol, play_of(game).Row, part)
        asked = config.seeds[shard::shards]
        self._record = config.record and recordings(
            config.record, checkpoint.folder, checkpoint.budget.digest, self.protocol
        )
        self.missing = [seed for seed in asked if not self._has(seed)]
        self._asked, self._shared = set(config.seeds), config.shared
        self.finished = False
        """Whether the result row is written."""
        # Of processes that share the games of a checkpoint one measures its loss, not each.
        if not (config.shared and shard):
            _ = self.loss

    @cached_property
    def loss(self) -> LossRow:
        """The dev loss, measured if it was not yet."""
        folder, found = self.checkpoint.folder, _loss(self.checkpoint, self._dev_steps, self._dev_sets)
        if not math.isfinite(found.loss):
            print(f"{folder}: the dev loss is not finite: it is left empty in runs.jsonl", file=sys.stderr)
        return found

    def _has(self, seed: int) -> bool:
        recorded = self._record is None or folder_of_recording(self._record, seed).exists()
        return recorded and seed in self._games.seeds

    @property
    def complete(self) -> bool:
        """Whether all games are played, those of other shards, too."""
        return self._asked <= self._games.seeds

    @property
    def games(self) -> list[Any]:
        """The games played so far, by seed."""
        return self._games.rows

    @property
    def pictures(self) -> Pictures:
        """Moving pictures of some games."""
        return Pictures(self._games.folder, self.task, self.games)

    @property
    def task(self) -> Task:
        """The games to play."""
        return Task(self.checkpoint.agent, self.checkpoint.params, self.missing, self._add, self._record)

    def _add(self, game: Row) -> None:
        if game.seed in self._games.seeds:
            [before] = [row for row in self._games.rows if row.seed == game.seed]
            if before != game:
                print(f"{self.checkpoint.folder}: game {game.seed} was {before}, now {game}", file=sys.stderr)
            return
        self._games.add(game)
        if self.complete:
            self.finish()

    def finish(self) -> None:
        """Write the result row, if others have played the games that this process has not."""
        self.finished = True
        self._games.refresh()
        checkpoint, games = self.checkpoint, self._games.rows
        if not self.complete:
            if not self._shared:
                print(
                    f"{checkpoint.folder}: {count(len(games), 'game')} so far; other shards play the rest",
                    file=sys.stderr,
                )
            return
        if games:
            path = self._games.folder / ROW
            row = _row(checkpoint, self.loss, games, self.protocol)
        else:
            measured = f"in {checkpoint.dtype}" if checkpoint.dtype else None
            path = checkpoint.folder / ROW
            if measured:
                path = folder_of(checkpoint.folder, checkpoint.budget.digest, measured) / ROW
            row = _row(checkpoint, self.loss, games, measured)
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_text(path, json.dumps(as_record(row) | {"digest": checkpoint.budget.digest}, indent=1))


def rows_of(run: Path, *, training_time: bool = False) -> list[ResultRow]:
    """The result rows of a run's checkpoints, of each one per protocol, or one without games.

    With `training_time`, each has the `seconds` that the run's metrics tell.
    """
    rows = []
    metrics = read_metrics(run) if training_time else []
    for budget in budgets(run):
        folder = run / "budgets" / budget_name(budget.flops)
        found = [_read_row(path, budget) for path in (folder / ROW, *sorted((folder / "games").glob(f"*/{ROW}")))]
        by_protocol = {row.protocol: row for row in found if row is not None}
        if len(by_protocol) > 1:
            by_protocol.pop(None, None)
        seconds = training_seconds(metrics, budget.flops, budget.samples)
        rows += [replace(by_protocol[name], seconds=seconds) for name in sorted(by_protocol, key=str)]
    return rows


def _read_row(path: Path, budget: Budget) -> ResultRow | None:
    """The row in a file, if it is of these parameters. Earlier versions did not say of which it was."""
    if not path.exists():
        return None
    values = json.loads(path.read_text(), parse_constant=_null)
    return ResultRow(**values) if values.pop("digest", budget.digest) == budget.digest else None


def _checkpoints(run: Path, config: EvalConfig) -> list[_Checkpoint]:
    described = read_run(run)
    trained = from_json(described["config"])
    store = store_of(run, described, config.store)
    agent = _agent(described, store, config.compute)
    return [_Checkpoint(run, described, trained, store, agent, budget) for budget in chosen(run, config.budgets)]


def load_checkpoint(
    run: Path, flops: float | None = None, compute: str | None = None, store: Sequence[Path] = ()
) -> tuple[Agent, Params]:
    """Load the agent of a run, prepared for this machine's devices, and its parameters at one budget.

    Args:
        run: Folder of the run.
        flops: Budget in FLOPs; None selects the largest one reached.
        compute: Dtype of the computation, float32 or bfloat16; None is the dtype that the run was trained in.
        store: Where the stores that the run was trained on are now; empty: where they were.

    Raises:
        UserError: There is no such run or budget, its store is missing, or the checkpoint is damaged.
    """
    described = read_run(run)
    agent = _agent(described, store_of(run, described, store), compute)
    [budget] = chosen(run, () if flops is None else (flops,))[-1:]
    return agent, load_budget(run, budget, agent)


def chosen(run: Path, flops: Sequence[float]) -> list[Budget]:
    """Return the budgets of a run that have a checkpoint, smallest first.

    Args:
        run: Folder of the run.
        flops: Budgets in FLOPs to select; empty selects all.

    Raises:
        UserError: The run has not reached one of these budgets, or has not reached any.
    """
    passed = budgets(run)
    found = [budget for budget in passed if not flops or budget.flops in flops]
    if set(flops) - {budget.flops for budget in passed} or not found:
        names = ", ".join(budget_name(budget.flops) for budget in passed) or "none yet: train it first"
        raise UserError(f"{run} has passed these budgets: {names}")
    return found


def _agent(described: dict[str, Any], store: Store, compute: str | None) -> Agent:
    """The agent of a run in dtype `compute`, by default the run's own."""
    trained = from_json({**described["config"], "compute": compute or dtype_of(described)})
    return prepare_agent(trained, store)


def games_of(run: Path, flops: float, protocol: str, store: Sequence[Path] = ()) -> list[Any]:
    """The games that the checkpoint of a budget has played by a protocol, by seed; `store` as of `load_checkpoint`."""
    described, [budget] = read_run(run), chosen(run, (flops,))
    game = store_of(run, described, store).manifest["game"]
    return Games(run / "budgets" / budget_name(flops), budget.digest, protocol, play_of(game).Row).rows


def returns(games: Sequence[Row]) -> Interval:
    """Return the mean final score with its bootstrap confidence interval."""
    return mean_interval([game.score for game in games])


def _null(constant: str) -> None:
    """What `json` reads in place of NaN or an infinity, as earlier versions wrote them."""


DevSets = Callable[[Agent, Store, int | None], DevSet]
"""The held-out episodes of a store for an agent, at most so many timesteps of them."""


def _dev_set(agent: Agent, store: Store, steps: int | None) -> DevSet:
    """On all devices of this host."""
    pieces = None if steps is None else some_pieces(store, steps)
    return DevSet(agent, store, make_mesh(jax.local_device_count()), pieces)


def _loss(checkpoint: _Checkpoint, steps: int | None, dev_sets: DevSets) -> LossRow:
    """The dev loss, measured before or now. Earlier versions did not record in which dtype: in the run's."""
    agent, budget = checkpoint.agent, checkpoint.budget
    known: dict[int | None, LossRow] = {}
    for path in checkpoint.folder.glob("loss*.json"):
        kept = json.loads(path.read_text())
        if kept["digest"] == budget.digest and kept.get("dtype", dtype_of(checkpoint.described)) == agent.dtype:
            known[kept.get("dev_steps")] = LossRow(**kept["loss"])
    if None in known or steps in known:
        return known.get(None) or known[steps]
    dev_set = dev_sets(agent, checkpoint.store, steps)
    loss = dev_set.loss(jax.device_put(checkpoint.params(), replicated(dev_set.mesh)))
    kept = {"digest": budget.digest, "dtype": agent.dtype, "dev_steps": steps, "loss": asdict(loss)}
    name = "loss" + (f"-{agent.dtype}" if checkpoint.dtype else "") + (f"-{steps}-steps" if steps else "")
    replace_text(checkpoint.folder / f"{name}.json", json.dumps(kept, indent=1))
    return loss


def _row(checkpoint: _Checkpoint, loss: LossRow, games: Sequence[Row], protocol: str | None) -> ResultRow:
    interval, population = returns(games) if games else None, None
    run, described, trained, budget = checkpoint.run, checkpoint.described, checkpoint.trained, checkpoint.budget
    name = run.name
    if "population" in described:
        population = Path(absolute(run)).parent.name
        name = f"{population}/{name}"
    core, size = core_and_size(trained.agent)
    cost = checkpoint.agent.cost(trained.window)
    return ResultRow(
        game=checkpoint.game,
        run=name,
        flops=budget.flops,
        params=described["params"],
        samples=budget.samples,
        loss=loss.loss,
        loss_se=loss.loss_se,
        loss_steps=loss.steps,
        loss_episodes=loss.episodes,
        return_mean=interval.mean if interval else None,
        return_se=interval.se if interval else None,
        episodes=len(games) or None,
        seed=trained.init_seed if trained.init_seed == trained.data_seed else None,
        init_seed=trained.init_seed,
        data_seed=trained.data_seed,
        population=population,
        core=core,
        size=size,
        width=checkpoint.agent.width,
        depth=checkpoint.agent.depth,
        context=trained.window,
        lr=trained.optimizer.peak,
        lr_rule=described.get("lr_rule"),
        batch=trained.batch,
        schedule=trained.optimizer.schedule,
        protocol=protocol,
        flop_convention=trained.convention,
        flop_version=described.get("flop_version"),
        flops_exact=budget.flops_exact,
        flops_paper=budget.flops_paper,
        store=described["store"]["checksum"][:12],
        checkpoint=f"budgets/{budget_name(budget.flops)}",
        config_hash=config_hash(trained),
        version=described["version"],
        dtype=dtype_of(described),
        device=devices_of(run, described),
        params_all=cost.params,
        epochs=budget.samples / epoch(checkpoint.store),
        params_core=sum(group.part.params for group in cost.groups if group.name == "core") or None,
    )
