"""A complete study in one command: play expert games, import, train, evaluate, fit.

The only module of `laws` that runs the other packages. Each stage keeps its finished results, so that running the
same command again resumes an interrupted study.
"""

import json
import platform
import shlex
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Literal

from tyro.conf import Positional

from data.common.cli import UserError, quoted
from data.common.files import replace_text
from data.common.machine import cores
from data.experts import registry as experts
from data.games import registry
from data.games.base import Game
from data.store.reader import TrajectoryStore
from eval.checkpoints import games_of
from eval.play.options import PlayOptions, play_of
from eval.play.records import read_games, write_games
from eval.results import ResultRow
from eval.statistics import Interval, mean_interval
from laws.design.config import Sweep, shared_of
from laws.design.grid import content_of, grid_of
from laws.design.runs import SweepRun, runs_of
from laws.figures.style import Reference
from laws.report.outputs import write_outputs
from laws.report.report import Context, ReportTable, Stage
from laws.study.preset import Preset, Study
from laws.sweep.command import begin, drive
from laws.sweep.state import State
from laws.sweep.table import rows_of, write_table

DEFAULT_GAME = "nethack"
WORKERS = cores()


def reproduce(
    preset: Positional[Literal["quickstart", "smoke"]],
    *,
    game: str = DEFAULT_GAME,
    store: Path | None = None,
    out: Path | None = None,
) -> None:
    """Run a complete study: expert games, store, training, evaluation, scaling laws, figures and report.html.

    Running the same command again resumes an interrupted study.

    Example: `python -m laws reproduce quickstart --game Breakout`

    Args:
        preset: quickstart takes minutes on a laptop; smoke takes about a minute and checks that every stage works.
        game: nethack, an Atari game, or gym/ENV. nethack, Breakout and gym/CartPole-v1 have an embedded expert; other
            games need --store.
        store: Train on this store instead of games of the embedded expert.
        out: Output folder; default reproduce/PRESET for NetHack, reproduce/PRESET-GAME for other games.
    """
    found = registry.find(game)
    study: Study = registry.module("laws.study", found.family)
    chosen = study.PRESETS[preset]
    folder = out or Path("reproduce", preset if game == DEFAULT_GAME else f"{preset}-{game.replace('/', '-')}")
    claim(folder, preset, found, store)
    stages, given = Stages(folder / "times.json"), store
    store = given or folder / "store"
    if given is None:
        study.expert_games(stages.stage, chosen, game, folder, store, WORKERS)
    opened = TrajectoryStore.open(store)
    character = study.character_of(opened)
    sweep = planned(chosen, store, character)
    runs = runs_of(sweep, folder)
    begin(folder, sweep)
    with stages.stage(f"train and evaluate {len(runs)} runs of {len({run.config.agent for run in runs})} sizes"):
        drive(folder)
        write_table(folder)
    rows = rows_of(folder)
    given_up(State(folder), runs)
    players = ["random", "expert"] if found.embedded else ["random"]
    with stages.stage(f"play with the {' and the '.join(players)} player"):
        scores = {name: baseline(folder, name, chosen, found, character) for name in players}
    with stages.stage("fit the laws, draw the figures, write the report"):
        asked = [preset, *([] if game == DEFAULT_GAME else ["--game", game]), *(["--store", given] if given else [])]
        context = describe(folder, chosen, asked, opened, rows, scores, stages)
        expert = scores["expert"].mean if "expert" in scores else None
        write_outputs(rows, folder, context, references={game: Reference(expert)})
    print(f"expected: {chosen.expect}; {chosen.takes}")
    print(f"{folder / 'report.html'}: open it in a browser. All stages took {sum(stages.seconds.values()):.0f} s.")


def planned(preset: Preset, store: Path, character: str | None) -> Sweep:
    """The sweep of a study on a store."""
    config = replace(preset.sweep, character=character)
    shared = shared_of(replace(preset.shared, store=store))
    content = content_of(shared)
    return Sweep(config, shared, content.checksum, grid_of(config, shared, content).sizes)


def given_up(state: State, runs: Sequence[SweepRun]) -> None:
    """Check that no run failed.

    Raises:
        UserError: Some did; the message names one and its reason.
    """
    failed = state.status(runs).failed
    if failed:
        why = state.failure(failed[0]) or {}
        raise UserError(
            f"{len(failed)} of {len(runs)} runs failed, {failed[0].name} of {why.get('reason')}: mend that, then"
            f" `python -m train sweep {quoted(state.folder)} --retry`"
        )


def baseline(folder: Path, player: str, preset: Preset, game: Game, character: str | None) -> Interval:
    """Return the mean score of an expert with the checkpoints' seeds and step limit. Finished games are reused."""
    path, play = folder / f"{player}.jsonl", play_of(game.name)
    seeds = range(preset.baseline_episodes)
    if not path.exists():
        options = PlayOptions(max_steps=preset.sweep.max_steps, character=character, lanes=len(seeds), workers=WORKERS)
        write_games(path, play.play_expert(experts.find(game, player), seeds, options))
    return mean_interval([row.score for row in read_games(path, play.Row)])


def claim(folder: Path, preset: str, game: Game, store: Path | None) -> None:
    """Mark `folder` as the output folder of this study.

    Raises:
        UserError: The folder holds another study or other files, the game does not exist, the store is of another
            game, or there is neither a store nor an embedded expert.
    """
    path = folder / "reproduce.json"
    values = {"preset": preset, "game": game.name, "store": str(store.resolve()) if store else None}
    if path.exists():
        if {"game": DEFAULT_GAME} | json.loads(path.read_text()) != values:
            raise UserError(f"{folder} holds a study with another preset, game or store: choose another --out")
        return
    game.content()
    if store is not None:
        stored = TrajectoryStore.open(store).manifest["game"]
        if stored != game.name:
            raise UserError(f"{store} holds games of {stored}, not {game.name}: give --game {stored}")
    elif game.embedded is None:
        raise UserError(f"{game.name} has no embedded expert: collect or import games of it and give --store")
    if folder.is_dir() and any(folder.iterdir()):
        raise UserError(f"{folder} is not empty and holds no study: choose another --out")
    folder.mkdir(parents=True, exist_ok=True)
    replace_text(path, json.dumps(values))


class Stages:
    """Announces stages and records their durations in a file, summed over interruptions."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.seconds: dict[str, float] = json.loads(path.read_text()) if path.exists() else {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Announce a stage and time it."""
        print(f"== {name}", file=sys.stderr, flush=True)
        begin = time.monotonic()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.monotonic() - begin
            replace_text(self._path, json.dumps(self.seconds, indent=1))


def describe(
    folder: Path,
    preset: Preset,
    asked: Sequence[object],
    store: TrajectoryStore,
    rows: Sequence[ResultRow],
    scores: Mapping[str, Interval],
    stages: Stages,
) -> Context:
    """Return the content of the report other than the fits: returns of the players, setup and durations."""
    best = max(rows, key=lambda row: row.return_mean or 0.0)
    expert = mean_interval([episode.score for episode in store.episodes])
    games = games_of(folder / "runs" / best.run, best.flops, str(best.protocol))
    agent = mean_interval([game.score for game in games])
    best_agent = f"best agent ({best.core}/{best.size} at {best.flops:.2g} FLOPs)"
    players = [
        _player("random policy", scores["random"], preset.baseline_episodes),
        _player(best_agent, agent, len(games)),
        _player("games in the store", expert, len(store.episodes)),
    ]
    if "expert" in scores:
        same = "embedded expert, same seeds and limit"
        players.insert(2, _player(same, scores["expert"], preset.baseline_episodes))
    table = ReportTable(
        title="Mean return of who played",
        header=("player", "mean return", "95 % interval", "games"),
        rows=tuple(players),
        note=f"All but the games in the store are of the same seeds, each at most {preset.sweep.max_steps} steps.",
    )
    lines = (
        shlex.join(map(str, ("python", "-m", "laws", "reproduce", *asked))),
        f"sizes    {', '.join(dict.fromkeys(row.size or '' for row in rows))} of {preset.sweep.family}",
        f"budgets  {', '.join(f'{budget:g}' for budget in preset.sweep.budgets)} FLOPs, counted exactly",
        f"batch    {preset.shared.lanes} lanes x {preset.shared.window} steps",
        f"machine  {cores()} cores, {platform.machine()}, Python {platform.python_version()}",
    )
    sizes, seeds = len({row.size for row in rows}), preset.sweep.seeds
    times = "once" if seeds == 1 else f"with {seeds} seeds"
    summary = (
        f"{len(store.episodes)} games, {int(store.lengths.sum()):,} steps; {sizes} sizes, trained {times} through"
        f" {len(preset.sweep.budgets)} budgets; every checkpoint's dev loss and {preset.sweep.episodes} games."
    )
    timed = tuple(Stage(stage, seconds) for stage, seconds in stages.seconds.items())
    game = registry.find(store.manifest["game"])
    title = f"Scaling laws: {game.title}, {store.manifest['expert'] or 'unknown'} expert"
    return Context(title, summary, "\n".join(lines), (table,), timed)


def _player(name: str, interval: Interval, games: int) -> tuple[str, ...]:
    return name, f"{interval.mean:.1f}", f"{interval.low:.1f} to {interval.high:.1f}", str(games)
