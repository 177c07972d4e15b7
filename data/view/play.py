"""Plays back a recorded game in the terminal or as a GIF."""

import io
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, TextIO

import numpy as np

from data import spec
from data.common.cli import UserError
from data.common.files import replacing
from data.common.progress import Bar
from data.games import registry
from data.games.strategies import name_of
from data.store.reader import TrajectoryStore


class Frame(NamedTuple):
    """One step of the playback."""

    step: Any
    """The step, of the game's own steps type, without the leading axis."""
    caption: str
    """Timestep, action and score."""


GIF_STEPS = 500
"""Steps in a GIF unless more are asked for: a few megabytes."""
_SAMPLE = 16
"""Steps at the beginning, in the middle and at the end from which the size of a GIF is estimated."""


def play(
    store: Path, episode: str, *, start: int, steps: int | None, speed: float, gif: Path | None, out: TextIO
) -> str:
    """Play back steps of a game.

    Args:
        store: Folder of the store.
        episode: Row of the episode, or a prefix of its id.
        start: First step.
        steps: Number of steps; None: all, or in a GIF at most `GIF_STEPS`.
        speed: Steps per second.
        gif: Write a GIF to this file, and its estimated size to `out` before; None: show the game on `out`.
        out: The terminal.

    Returns:
        A summary, one line.

    Raises:
        UserError: The store cannot be opened, there is no such episode or step, an option is out of range, or `out`
            cannot show the game.
    """
    opened = TrajectoryStore.open(store)
    row = find(opened, episode)
    length = opened.episodes[row].length
    if not 0 <= start < length:
        raise UserError(f"no step {start} in a game of {length} steps: --from must be from 0 to {length - 1}")
    if steps is not None and steps < 1:
        raise UserError(f"--steps is {steps}: give 1 or more")
    wanted = steps or (length if gif is None else GIF_STEPS)
    stop = min(length, start + wanted)
    if not 0.1 <= speed <= 1000:
        raise UserError(f"--speed must be from 0.1 to 1,000 steps a second, not {speed}")
    view = registry.module("data.view", registry.find(opened.manifest["game"]).family)
    spec, count = opened.codec.observation, stop - start
    summary = f"{count:,} steps of game {opened.episodes[row].id}"
    if gif is not None:

        def pictures(begin: int, end: int) -> Iterator[np.ndarray]:
            return (view.picture(*frame, spec) for frame in frames(opened, row, begin, end))

        more = "" if stop == length or steps else f", of {length:,}: --from and --steps choose others"
        size = _in_bytes(_expected_size(pictures, start, stop, view.PALETTE))
        print(f"{count:,} steps from step {start:,}{more}; about {size}", file=out, flush=True)
        film = iter(Bar(pictures(start, stop), "gif", count, unit="step"))
        save_gif(gif, film, view.PALETTE, speed)
        return f"{summary} in {gif} ({_in_bytes(gif.stat().st_size)})"
    film = frames(opened, row, start, stop)
    if view.TERMINAL is None:
        raise UserError(f"{opened.manifest['game']} cannot be shown as text: give --gif FILE")
    if not out.isatty():
        raise UserError("the output is not a terminal: give --gif FILE")
    size, (lines, columns) = shutil.get_terminal_size(), view.TERMINAL
    if size.columns < columns or size.lines < lines:
        raise UserError(f"the terminal has {size.columns}x{size.lines} characters: enlarge it to {columns}x{lines}")
    show((view.text(*frame, spec) for frame in film), speed, out)
    return summary


def find(store: TrajectoryStore, name: str) -> int:
    """The row of an episode, from its row as text or from a prefix of its id.

    Raises:
        UserError: No episode matches, or more than one.
    """
    rows = [row for row, episode in enumerate(store.episodes) if episode.id.startswith(name)]
    if name.isascii() and name.isdecimal() and len(name) < 12 and int(name) < len(store.episodes):
        return int(name)
    if len(rows) == 1:
        return rows[0]
    what = f"{len(rows)} games whose id begins with" if rows else "no game"
    raise UserError(f"{what} {name!r} in {store.path}: give a number from 0 to {len(store.episodes) - 1}, or an id")


def frames(store: TrajectoryStore, row: int, start: int, stop: int) -> Iterator[Frame]:
    """Decode the steps [start, stop) of an episode one by one, with their captions.

    Raises:
        DamagedStore: A chunk is damaged.
    """
    actions = store.manifest["actions"]
    names, length = registry.find(store.manifest["game"]).action_names(actions), store.episodes[row].length
    for begin in range(start, stop, store.chunk_steps):
        piece = store.read(row, begin, min(stop, begin + store.chunk_steps))
        for number in range(len(piece.action_S)):
            step = type(piece)(*(column[number] for column in piece))
            action = names[int(step.action_S)] if actions else ""
            if (label := int(getattr(step, "label_S", spec.NO_LABEL))) != spec.NO_LABEL:
                action += f"   {name_of(label)}"
            yield Frame(step, caption(begin + number, length, action, int(step.score_S)))


def caption(step: int, length: int, action: str, score: int) -> str:
    """The line below a frame: timestep, action and score."""
    shown = "" if score == spec.NO_SCORE else f"   score {score:,}"
    return f"step {step:,} of {length:,}   {action}{shown}"


def show(film: Iterator[str], speed: float, out: TextIO) -> None:
    """Draw texts in place on a terminal, until the last one or Ctrl-C. Hides the cursor meanwhile."""
    out.write("\x1b[?25l\x1b[2J")
    due = time.monotonic()
    try:
        for text in film:
            out.write("\x1b[H" + text)
            out.flush()
            due += 1 / speed
            time.sleep(max(0.0, due - time.monotonic()))
    except KeyboardInterrupt:
        pass
    finally:
        out.write("\x1b[0m\x1b[?25h\n")


def _expected_size(
    pictures: Callable[[int, int], Iterator[np.ndarray]], start: int, stop: int, palette: bytes
) -> float:
    """Bytes of a GIF of the pictures [start, stop), from those of short ones."""
    each = min(stop - start, _SAMPLE)
    file = io.BytesIO()
    for begin in (start, (start + stop - each) // 2, stop - each):
        write_gif(file, pictures(begin, begin + each), palette, 1.0)
    return file.tell() / (3 * each) * (stop - start)


def _in_bytes(size: float) -> str:
    return f"{size / 1e6:,.1f} MB" if size >= 1e6 else f"{size / 1e3:,.0f} kB"


def save_gif(path: Path, pictures: Iterator[np.ndarray], palette: bytes, speed: float) -> None:
    """Write pictures to a file, atomically; see `write_gif`.

    Raises:
        UserError: The file cannot be written.
    """
    with replacing(path) as scratch, scratch.open("wb") as file:
        write_gif(file, pictures, palette, speed)


def write_gif(file: BinaryIO, pictures: Iterator[np.ndarray], palette: bytes, speed: float) -> None:
    """Write pictures of palette indices, uint8 [rows, columns], one or more, as a looping GIF of `speed` a second."""
    from PIL import Image

    def images() -> Iterator[Image.Image]:
        for picture in pictures:
            image = Image.fromarray(picture)
            image.putpalette(palette)
            yield image

    film, duration = images(), max(20, round(1000 / speed))
    next(film).save(file, "GIF", save_all=True, append_images=film, duration=duration, loop=0, optimize=False)
