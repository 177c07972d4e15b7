"""Evaluation of a run: dev loss and returns of each checkpoint, one result row per checkpoint."""

import contextlib
import json
import math
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from agents.overrides import core_and_size
from agents.spec import Agent, Params
from data.common.cli import UserError
from data.common.files import replace_text
from data.common.paths import absolute
from data.common.rows import as_record
from data.sampling.stream import Store
from data.store.mixture import open_stores
from eval.config import EvalConfig
from eval.play.options import Row, play_of, protocol
from eval.play.records import read_games, write_games
from eval.results import ResultRow, write_rows
from eval.statistics import Interval, mean_interval
from train.checkpoint import Budget, budget_name, budgets, load_budget
from train.config import TrainConfig, config_hash, from_json
from train.dev.episodes import DevSet
from train.dev.loss import LossRow
from train.folder import devices_of, dtype_of, read_run
from train.mesh import make_mesh
from train.plan import prepare_agent


def evaluate(config: EvalConfig, *, progress: bool = True) -> list[ResultRow]:
    """Evaluate the selected checkpoints and write `runs.jsonl` and `runs.csv` to the run's folder.

    Finished results are reused: a checkpoint evaluated before by the same protocol is skipped, and the finished games
    of an interrupted evaluation are kept, since a game depends only on its seed, the parameters and the protocol.

    Args:
        config: The run, its budgets to evaluate, and how to play.
        progress: Whether to show a progress bar on stderr.

    Returns:
        The rows of all evaluated checkpoints of the run, smallest budget first.

    Raises:
        UserError: There is no such run or budget, its store is missing or has changed, a checkpoint is damaged, or
            the game does not support an option.
    """
    described = read_run(config.run)
    trained = from_json(described["config"])
    store = open_store(described)
    agent, game = _agent(described, store, config.compute), store.manifest["game"]
    play_of(game).check(game, config.options, config.seeds)
    other = [] if agent.dtype == dtype_of(described) else [f"in {agent.dtype}"]
    for budget in chosen(config.run, config.budgets):
        folder = config.run / "budgets" / budget_name(budget.flops)
        params = load_budget(config.run, budget, agent)
        loss = _loss(folder / "loss.json", agent, params, store, budget, dtype_of(described))
        played_by = ", ".join([protocol(game, config.options, config.seed), *other])
        path = games_of(config.run, budget.flops)
        games = _games(path, agent, params, game, config, budget, played_by, progress=progress)
        measured = played_by if games else other[0] if other else None
        row = _row(config, agent, game, trained, described, budget, loss, games, measured)
        if not math.isfinite(loss.loss):
            print(f"{folder}: the dev loss is not finite: it is left empty in runs.jsonl", file=sys.stderr)
        replace_text(folder / "row.json", json.dumps(as_record(row), indent=1))
    rows = [
        ResultRow(**json.loads(path.read_text(), parse_constant=_null))
        for path in (config.run / "budgets" / budget_name(budget.flops) / "row.json" for budget in budgets(config.run))
        if path.exists()
    ]
    write_rows(config.run / "runs.jsonl", rows)
    return rows


def load_checkpoint(run: Path, flops: float | None = None, compute: str | None = None) -> tuple[Agent, Params]:
    """Load the agent of a run, prepared for this machine's devices, and its parameters at one budget.

    Args:
        run: Folder of the run.
        flops: Budget in FLOPs; None selects the largest one reached.
        compute: Dtype of the computation, float32 or bfloat16; None is the dtype that the run was trained in.

    Raises:
        UserError: There is no such run or budget, its store is missing, or the checkpoint is damaged.
    """
    described = read_run(run)
    agent = _agent(described, open_store(described), compute)
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


def open_store(described: dict[str, Any]) -> Store:
    """Open the store, or mixture of stores, that a run was trained on.

    Args:
        described: Description of the run, from `train.folder.read_run`.

    Raises:
        UserError: A store is missing or has changed since the run was trained.
    """
    trained, paths = from_json(described["config"]), described["store"]["paths"]
    store = open_stores([Path(path) for path in paths], trained.weights, trained.games)
    if store.checksum != described["store"]["checksum"]:
        raise UserError(f"{', '.join(paths)}: not as they were when the run learned from them: train again")
    return store


def _agent(described: dict[str, Any], store: Store, compute: str | None) -> Agent:
    """The agent of a run in dtype `compute`, by default the run's own."""
    trained = from_json({**described["config"], "compute": compute or dtype_of(described)})
    return prepare_agent(trained, store)


def games_of(run: Path, flops: float) -> Path:
    """Return the path of the file with the games that the checkpoint of a budget played."""
    return run / "budgets" / budget_name(flops) / "games.jsonl"


def returns(games: Sequence[Row]) -> Interval:
    """Return the mean final score with its bootstrap confidence interval."""
    return mean_interval([game.score for game in games])


def _null(constant: str) -> None:
    """What `json` reads in place of NaN or an infinity, as earlier versions wrote them."""


def _loss(path: Path, agent: Agent, params: Params, store: Store, budget: Budget, dtype: str) -> LossRow:
    """The dev loss, measured before or now. Earlier versions did not record in which dtype: in the run's, `dtype`."""
    if path.exists():
        kept = json.loads(path.read_text())
        if kept["digest"] == budget.digest and kept.get("dtype", dtype) == agent.dtype:
            return LossRow(**kept["loss"])
    loss = DevSet(agent, store, make_mesh(1)).loss(params)
    kept = {"digest": budget.digest, "dtype": agent.dtype, "loss": asdict(loss)}
    replace_text(path, json.dumps(kept, indent=1))
    return loss


def _games(
    path: Path,
    agent: Agent,
    params: Params,
    game: str,
    config: EvalConfig,
    budget: Budget,
    protocol: str,
    *,
    progress: bool,
) -> list[Row]:
    """Play the games of a checkpoint, except those already played with the same parameters and protocol."""
    mark, play = path.with_suffix(".json"), play_of(game)
    played_by = {"digest": budget.digest, "protocol": protocol}
    if not (mark.exists() and json.loads(mark.read_text()) == played_by):
        path.unlink(missing_ok=True)
        replace_text(mark, json.dumps(played_by, indent=1))
    # Keep games beyond the requested seeds, so that a shorter evaluation does not discard those of a longer one.
    kept = read_games(path, play.Row) if path.exists() else []
    missing = sorted(set(config.seeds) - {game.seed for game in kept})
    done = list(kept)
    # Write the finished games on an interruption, too.
    with contextlib.ExitStack() as stack:
        stack.callback(lambda: write_games(path, sorted(done, key=lambda game: game.seed)) if done else None)
        play.play_agent(agent, params, game, missing, config.options, progress=progress, on_game=done.append)
    return sorted(done, key=lambda game: game.seed)


def _row(
    config: EvalConfig,
    agent: Agent,
    game: str,
    trained: TrainConfig,
    described: dict[str, Any],
    budget: Budget,
    loss: LossRow,
    games: Sequence[Row],
    protocol: str | None,
) -> ResultRow:
    interval, population = returns(games) if games else None, None
    name = config.run.name
    if "population" in described:
        population = Path(absolute(config.run)).parent.name
        name = f"{population}/{name}"
    core, size = core_and_size(trained.agent)
    return ResultRow(
        game=game,
        run=name,
        flops=budget.flops,
        params=described["params"],
        samples=budget.samples,
        loss=loss.loss,
        loss_se=loss.loss_se,
        return_mean=interval.mean if interval else None,
        return_se=interval.se if interval else None,
        episodes=len(games) or None,
        seed=trained.init_seed if trained.init_seed == trained.data_seed else None,
        init_seed=trained.init_seed,
        data_seed=trained.data_seed,
        population=population,
        core=core,
        size=size,
        width=agent.width,
        depth=agent.depth,
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
        device=devices_of(config.run, described),
    )
