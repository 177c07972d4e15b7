"""Games that several processes play together, on one machine or many that share a folder: each claims the next one that
nobody has.

`claims/GAME/` is the lease of the process that plays a game (`data.common.lease`). A game that its process has lost is
played again by another.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import wait
from functools import partial
from pathlib import Path
from typing import Literal, Protocol

from data.common.cluster import run_tasks
from data.common.lease import POLL_SECONDS, in_turn
from data.common.workers import pool_of, stop_if_asked

Executor = Literal["local", "ray"]
CLAIMS = "claims"


class Shared(Protocol):
    """A game to play. Picklable: it is sent to other processes."""

    @property
    def name(self) -> str:
        """Name of its claim."""
        ...

    @property
    def made(self) -> bool:
        """Whether it is there."""
        ...

    def make(self) -> None:
        """Play it, after removing what an earlier attempt may have left."""
        ...


def play_shared(games: Sequence[Shared], folder: Path, processes: int, executor: Executor) -> Iterator[int]:
    """Play the games that nobody else plays, until all are there.

    Args:
        games: The games, in the order in which they are claimed.
        folder: Holds the claims; all machines see it.
        processes: Number of processes on this machine; of Ray there is a task for each game.
        executor: Where games are played.

    Yields:
        About once a second: how many of the games are there.

    Raises:
        UserError: See `data.common.cluster.run_tasks`.
    """
    left = list(games)

    def count() -> int:
        left[:] = [game for game in left if not game.made]
        return len(games) - len(left)

    yield count()
    if executor == "ray":
        # Ray's ticks are calls: a bar would need a thread.
        run_tasks([partial(play_claimed, [game], folder) for game in left], lambda: None, gpus=False)
    elif left:
        with pool_of(processes) as pool:
            players = [pool.submit(play_claimed, list(left), folder) for _ in range(processes)]
            while not all(player.done() for player in players):
                wait(players, timeout=POLL_SECONDS)
                yield count()
            for player in players:
                player.result()
    yield count()


def play_claimed(games: Sequence[Shared], folder: Path) -> None:
    """In one process: play the games that nobody else does, until all are there."""

    def play(game: Shared) -> None:
        if not game.made:
            game.make()

    def made(game: Shared) -> bool:
        stop_if_asked()
        return game.made

    in_turn(games, lambda game: folder / CLAIMS / game.name, play, made)
