"""NetHack games of experts: each worker process plays whole games."""

import ctypes
import shutil
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import lru_cache
from typing import Any

from data.common.workers import SPAWN, follow_parent
from data.experts.registry import Expert
from data.games.challenge import CHARACTER
from eval.engine.game import ChallengeGame, GameRow
from eval.progress import Progress

_halt: Any = None
"""In a worker process, the shared flag that cancels its games; elsewhere None."""


def play_experts(
    expert: Expert,
    seeds: Sequence[int],
    *,
    workers: int,
    max_steps: int | None = None,
    character: str = CHARACTER,
    progress: bool = True,
    on_game: Callable[[GameRow], None] | None = None,
) -> list[GameRow]:
    """Play one game per seed with an expert, whose player is seeded with the game's seed.

    Args:
        expert: The expert.
        seeds: Seeds of the games, distinct.
        workers: Number of processes that play.
        max_steps: Truncate games after this many steps; None keeps the environment's own limit.
        character: NetHack's character.
        progress: Whether to show a progress bar on stderr.
        on_game: Called with each row as soon as its game has ended.

    Returns:
        One row per game, ordered by seed.

    Raises:
        ValueError: The seeds are not distinct.
    """
    if len(set(seeds)) != len(seeds):
        raise ValueError("seeds must be distinct")
    rows: list[GameRow] = []
    halt = SPAWN.RawValue(ctypes.c_bool, False)
    with (
        tempfile.TemporaryDirectory(prefix="isoplay-games-") as folder,
        ProcessPoolExecutor(max(1, min(workers, len(seeds))), SPAWN, enlist, (halt, folder)) as pool,
        Progress(len(seeds), progress) as bar,
    ):
        games = [pool.submit(play_expert_game, expert, seed, character, max_steps) for seed in seeds]
        try:
            for game in as_completed(games):
                row = game.result()
                rows.append(row)
                bar.add(row.steps, 1)
                if on_game is not None:
                    on_game(row)
        except BaseException:
            halt.value = True
            pool.shutdown(cancel_futures=True)
            raise
    return sorted(rows, key=lambda row: row.seed)


def enlist(halt: Any, folder: str) -> None:
    """Initialize a worker process of a pool that plays games with experts.

    Args:
        halt: Shared bool. Once it is true, the games of this process raise `InterruptedError`. The process also ends
            when its parent does.
        folder: Folder for temporary files, which it removes in that case.
    """
    global _halt
    _halt, tempfile.tempdir = halt, folder
    follow_parent(lambda: shutil.rmtree(folder, ignore_errors=True))


@lru_cache(maxsize=1)
def _games_of_this_process(character: str, max_steps: int | None) -> ChallengeGame:
    return ChallengeGame(character, max_steps)


def play_expert_game(expert: Expert, seed: int, character: str, max_steps: int | None) -> GameRow:
    """Play one game with an expert; the game and the player have the same seed.

    Raises:
        InterruptedError: The pool was halted.
    """
    player, game = expert.player(seed), _games_of_this_process(character, max_steps)
    game.start(seed)
    row = None
    while row is None:
        if _halt is not None and _halt.value:
            raise InterruptedError(f"the game of seed {seed} was called off")
        # On the opening screens NLE presses the keys; the expert acts from the first turn on.
        row = game.step(0 if game.opening else player.act(game.observation))
    return row
