"""Play seeded NetHack games and record them in NLE's format: one folder per game, with ttyrec and xlogfile."""

import bz2
import fcntl
import json
import shutil
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Annotated

import tyro
from tyro.conf import Positional

from data.collect.base import episode_seed
from data.collect.shared import Executor, play_shared
from data.common.cli import UserError, quoted
from data.common.files import create, sync
from data.common.machine import cores
from data.common.progress import Bar, count
from data.common.workers import SPAWN, follow_parent
from data.experts import registry as experts
from data.experts.nethack import autoascend
from data.experts.registry import Expert
from data.games.base import Player
from data.games.challenge import CHARACTER, SCREEN, SeededChallenge, on_terminal
from data.games.nethack import NAME, NetHackGame

SETTINGS, RESULT, PART = "collect.json", "game.json", ".part"
"""Files with the `Settings` of a folder and the `GameResult` of a game, and the folder suffix of unfinished games."""


@dataclass(frozen=True)
class GameResult:
    """Result of a finished game."""

    seed: int
    """Seed of the game, which determines it together with character, player and step limit."""
    score: int
    """Final score."""
    steps: int
    """Number of key presses."""
    turns: int
    """Game turns that passed."""
    depth: int
    """Deepest dungeon level reached."""
    end: str
    """Cause of death; "quit" if the step limit or the player ended the game."""
    stalled: bool = False
    """Whether the player pressed no key any more, or failed, so that the game was quit."""


@dataclass(frozen=True)
class Settings:
    """Settings that determine the games of a folder."""

    game: str
    character: str
    seed: int
    max_steps: int
    player: str


@dataclass(frozen=True)
class _Task:
    """A game to play and record."""

    out: Path
    settings: Settings
    expert: Expert | None
    """None: AutoAscend, which plays by itself."""
    index: int

    @property
    def name(self) -> str:
        return folder_of(self.out, self.index).name

    @property
    def made(self) -> bool:
        return folder_of(self.out, self.index).exists()

    def make(self) -> None:
        shutil.rmtree(folder_of(self.out, self.index).with_suffix(PART), ignore_errors=True)
        _play(self)


def command(
    out: Positional[Path] = Path("games"),
    episodes: int = 100,
    workers: int | None = None,
    seed: int = 0,
    character: str = CHARACTER,
    max_steps: int = 5000,
    expert: Annotated[str, tyro.conf.arg(aliases=("--player",))] = "expert",
    work: bool = False,
    executor: Executor = "local",
) -> None:
    """Play and record seeded games. Running it again after an interruption adds the missing games.

    Example: `python -m data collect nethack GAMES --episodes 100 --character @`

    Args:
        out: Folder for the recordings, with one subfolder per game.
        episodes: Total number of games, including those already in the folder.
        workers: Number of processes that play; default one per core. Does not change the games.
        seed: Seed; game i depends only on (seed, i), character, expert and step limit.
        character: Role-race-alignment-gender, for example val-dwa-law-fem; @ selects one by the seed.
        max_steps: Limit on the key presses of a game, after which it is quit.
        expert: Policy: "expert", the embedded scripted expert; "autoascend", if it is installed; "random";
            module:function; or a JSON list of actions.
        work: Share the games with the same command on other machines that see the folder.
        executor: Where games are played: on this machine, or as tasks of the Ray cluster that it belongs to.
    """
    options = {"character": character, "max_steps": max_steps, "player": expert, "work": work, "executor": executor}
    games = collect(out, episodes=episodes, workers=workers, seed=seed, **options)
    scores = sorted(game.score for game in games)
    steps = sum(game.steps for game in games)
    print(f"{count(len(games), 'game')}, {count(steps, 'step')} in {out}; median score {scores[len(scores) // 2]}")
    if stalled := sum(game.stalled for game in games):
        print(f"{stalled} of them were quit, since {expert} stalled or failed")
    print(f"next: python -m data import nld {quoted(out)} STORE --expert {quoted(expert)}")


def collect(
    out: Path,
    *,
    episodes: int = 100,
    workers: int | None = None,
    seed: int = 0,
    character: str = CHARACTER,
    max_steps: int = 5000,
    player: str = "expert",
    work: bool = False,
    executor: Executor = "local",
) -> list[GameResult]:
    """Play and record seeded games. Running it again after an interruption adds the missing games.

    Args:
        out: Folder for the recordings, with one subfolder per game.
        episodes: Total number of games, including those already in the folder.
        workers: Number of processes that play; default one per core. Does not change the games.
        seed: Seed; game i depends only on (seed, i), character, player and step limit.
        character: Role-race-alignment-gender, for example val-dwa-law-fem; @ selects one by the seed.
        max_steps: Limit on the key presses of a game, after which it is quit.
        player: Policy: expert (the embedded scripted expert), autoascend, random, module:function, or a JSON list of
            actions.
        work: Whether other processes, which also do, play games of this folder at the same time.
        executor: Whether games are played on this machine, or as tasks of a Ray cluster.

    Returns:
        The results of games 0 to episodes - 1.

    Raises:
        UserError: An option is out of range, there is no such player, or `out` is in use or holds other files.
    """
    if player == autoascend.NAME:
        autoascend.check()
    expert = None if player == autoascend.NAME else experts.find(NetHackGame(), player)
    limits = {"--episodes": episodes, "--workers": workers, "--max-steps": max_steps}
    for option, value in limits.items():
        if value is not None and value < 1:
            raise UserError(f"{option} is {value}: give 1 or more")
    if seed < 0:
        raise UserError(f"--seed is {seed}: give 0 or more")
    settings = Settings(NAME, character, seed, max_steps, player)
    check_character(character)
    shared = work or executor == "ray"
    with _claimed(out, settings, shared=shared):
        tasks = [_Task(out, settings, expert, index) for index in range(episodes)]
        missing = [task for task in tasks if not task.made]
        processes = min(workers or cores(), len(missing))
        with Bar(name="collect", total=episodes, initial=episodes - len(missing), unit="game") as bar:
            if shared:
                for played in play_shared(tasks, out, processes, executor):
                    bar.update(played - bar.n)
            else:
                for _ in _played(missing, processes):
                    bar.update()
        return [_read_result(folder_of(out, index)) for index in range(episodes)]


def folder_of(out: Path, index: int) -> Path:
    """Folder of the recording of a game."""
    return out / f"game-{index:05d}"


def check_character(character: str) -> None:
    """Check that NetHack accepts a character, or "@"; it silently substitutes another for one that it does not know.

    Raises:
        UserError: NetHack would play another character.
    """
    if character in ("@", CHARACTER):
        return
    with TemporaryDirectory() as folder:
        env = SeededChallenge(
            character=character,
            observation_keys=SCREEN,
            save_ttyrec_every=1,
            savedir=folder,
            max_episode_steps=1,
        )
        env.reset_to(0)
        env.step(0)
        env.close()
        row = _xlog_row(Path(folder))
    played = "-".join(row[key].lower() for key in ("role", "race", "align0", "gender0"))
    if played != character:
        raise UserError(f"--character {character}: NetHack would play {played} instead; name one it knows")


@contextmanager
def _claimed(out: Path, settings: Settings, *, shared: bool) -> Iterator[None]:
    """Lock the folder against other writers, or with `shared` against those that don't share; check its settings, and
    remove unfinished games.

    Raises:
        UserError: The folder is locked, has other settings, or holds other files.
    """
    file = out / SETTINGS
    if out.exists() and not out.is_dir():
        raise UserError(f"{out} is a file: name a folder")
    if out.is_dir() and any(map(_is_other, out.iterdir())) and not file.exists():
        raise UserError(f"{out} holds other things: name a new folder, or one that collect made")
    out.mkdir(parents=True, exist_ok=True)
    create(file, _text_of(settings))
    with file.open("r+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_NB | (fcntl.LOCK_SH if shared else fcntl.LOCK_EX))
        except BlockingIOError:
            raise UserError(
                f"another collect is writing to {out}: wait for it, share its games by --work in both, or name another"
                " folder"
            ) from None
        _match_settings(lock, settings, out)
        for leftover in () if shared else out.glob("game-*" + PART):
            shutil.rmtree(leftover)
        yield


def _text_of(settings: Settings) -> str:
    return json.dumps(asdict(settings), indent=2) + "\n"


def _is_other(path: Path) -> bool:
    """Whether a path in a folder of games isn't what `create` leaves of the settings after a power failure."""
    return not path.name.startswith(f".{SETTINGS}.")


def _match_settings(file: IO[str], settings: Settings, out: Path) -> None:
    """Compare the settings with those of the file.

    Raises:
        UserError: The file is damaged or has other settings.
    """
    asked_for = asdict(settings)
    try:
        made_with = json.loads(file.read())
    except ValueError:
        if any(out.glob("game-*")):
            raise UserError(f"{out / SETTINGS} is damaged: record into another folder") from None
        # Cut short by a power failure, before the first game.
        made_with = asked_for
        file.seek(0)
        file.truncate()
        file.write(_text_of(settings))
        file.flush()
    for key in asked_for.keys() | made_with.keys():
        old, new = made_with.get(key), asked_for.get(key)
        if old != new:
            raise UserError(f"{out} was made with {key} {old!r}, not {new!r}: ask for {old!r} or name a new folder")


def _played(tasks: list[_Task], processes: int) -> Iterator[GameResult]:
    """Play games in parallel and yield results as they finish. Closing the generator cancels the remaining games."""
    if processes <= 1:
        yield from map(_play, tasks)
        return
    with ProcessPoolExecutor(processes, SPAWN, follow_parent) as pool:
        games = [pool.submit(_play, task) for task in tasks]
        try:
            for game in as_completed(games):
                yield game.result()
        finally:
            pool.shutdown(cancel_futures=True)


def _play(task: _Task) -> GameResult:
    """Play and record one game. Its folder gets its final name after all files are written and synced."""
    final = folder_of(task.out, task.index)
    part = final.with_name(final.name + PART)
    seed = episode_seed(task.settings.seed, task.index)
    env = SeededChallenge(
        character=task.settings.character,
        observation_keys=SCREEN if task.expert else autoascend.KEYS,
        save_ttyrec_every=1,
        savedir=str(part),
        max_episode_steps=task.settings.max_steps,
    )
    stalled = False
    try:
        if task.expert is None:
            steps, stalled = autoascend.play(env, seed)
        else:
            steps = _play_out(env, task.expert.player(seed), seed)
    finally:
        env.close()
    row = _xlog_row(part)
    _check_whole(part / row["ttyrecname"])
    result = GameResult(seed, int(row["points"]), steps, int(row["turns"]), int(row["maxlvl"]), row["death"], stalled)
    (part / RESULT).write_text(json.dumps(asdict(result)) + "\n")
    keep(part, final)
    return result


def keep(part: Path, final: Path) -> None:
    """Give the folder of a recorded game its final name, once its files are on the disk."""
    for file in (*part.iterdir(), part):
        sync(file)
    part.rename(final)
    sync(final.parent)


def _play_out(env: SeededChallenge, player: Player, seed: int) -> int:
    """Play the game of this seed to its end and return the number of key presses."""
    screen, _ = env.reset_to(seed)
    steps, terminated = 0, False
    while not terminated:
        screen, _, terminated, _, _ = env.step(player.act(on_terminal(screen)))
        steps += 1
    return steps


def _xlog_row(folder: Path) -> dict[str, str]:
    """Read the single row of the xlogfile in a game's folder."""
    (file,) = folder.glob("nle.*.xlogfile")
    (line,) = file.read_text().splitlines()
    return dict(field.split("=", 1) for field in line.split("\t"))


def _check_whole(file: Path) -> None:
    """Read a recording to its end, so that bzip2 raises `EOFError` if it is truncated."""
    with bz2.open(file) as stream:
        while stream.read(1 << 20):
            pass


def _read_result(folder: Path) -> GameResult:
    file = folder / RESULT
    try:
        return GameResult(**json.loads(file.read_text()))
    except (OSError, ValueError, TypeError) as error:
        raise UserError(
            f"{file} is damaged ({error}): move {folder} away, and the same command plays its game again"
        ) from error
