"""A recorded game as a film: NetHack in the terminal, NetHack and Atari as a GIF."""

import shutil
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, TextIO

import numpy as np
from nle import nethack

from data import spec
from data.codec.screens import SCREENS
from data.common.cli import UserError
from data.common.files import replacing
from data.games.keys import KEYS
from data.store.reader import TrajectoryStore

CELL_ROWS, CELL_COLUMNS = 16, 8
"""Pixels of a cell in a picture."""

_PALETTE = (
    (170, 170, 170), (170, 0, 0), (0, 170, 0), (170, 85, 0), (85, 85, 255), (170, 0, 170), (0, 170, 170),
    (200, 200, 200), (120, 120, 120), (255, 85, 85), (85, 255, 85), (255, 255, 85), (128, 128, 255), (255, 85, 255),
    (85, 255, 255), (255, 255, 255),
)  # fmt: skip
"""Red, green, blue of NLE's tty colours; 0 is what has no colour."""
_GREYS = np.repeat(np.arange(256, dtype=np.uint8), 3).tobytes()
_ZOOM = 4
"""Pixels of a picture for one of an Atari frame, each way."""
_LEVELS = 16
"""Shades of each colour, from the black ground up: 256 palette entries of a GIF."""


class Frame(NamedTuple):
    """What the expert saw, and what it did then."""

    chars_24x80: np.ndarray
    colors_24x80: np.ndarray
    cursor_2: np.ndarray
    caption: str


def play(
    store: Path, episode: str, *, start: int, steps: int | None, speed: float, gif: Path | None, out: TextIO
) -> str:
    """Show steps [start, start + steps) of a game at `speed` steps a second; returns a closing line."""
    opened = TrajectoryStore.open(store)
    row = find(opened, episode)
    length = opened.episodes[row].length
    stop = length if steps is None else min(length, start + steps)
    if not 0 <= start < stop:
        raise UserError(f"no step {start} in a game of {length} steps: --start must be from 0 to {length - 1}")
    if steps is not None and steps < 1:
        raise UserError(f"--steps is {steps}: give 1 or more")
    if not 0.1 <= speed <= 1000:
        raise UserError(f"--speed must be from 0.1 to 1,000 steps a second, not {speed}")
    if gif is not None:
        if opened.codec is SCREENS:
            save_gif(gif, map(picture, frames(opened, row, start, stop)), _palette(), speed)
        else:
            save_gif(gif, atari_pictures(opened, row, start, stop), _GREYS, speed)
        return f"{stop - start:,} steps of game {opened.episodes[row].id} in {gif}"
    if opened.codec is not SCREENS:
        raise UserError(f"a game of {opened.manifest['game']} is no text: give --gif FILE")
    if not out.isatty():
        raise UserError("the output is no terminal: give --gif FILE")
    size = shutil.get_terminal_size()
    if size.columns < spec.COLUMNS or size.lines < spec.ROWS + 1:
        raise UserError(f"the terminal has {size.columns}x{size.lines} places: a game needs 80x25")
    show(frames(opened, row, start, stop), speed, out)
    return f"{stop - start:,} steps of game {opened.episodes[row].id}"


def find(store: TrajectoryStore, name: str) -> int:
    """The row of an episode, given as its number or as the beginning of its id."""
    rows = [row for row, episode in enumerate(store.episodes) if episode.id.startswith(name)]
    if name.isascii() and name.isdecimal() and len(name) < 12 and int(name) < len(store.episodes):
        return int(name)
    if len(rows) == 1:
        return rows[0]
    what = f"{len(rows)} games whose id begins with" if rows else "no game"
    raise UserError(f"{what} {name!r} in {store.path}: give a number from 0 to {len(store.episodes) - 1}, or an id")


def frames(store: TrajectoryStore, row: int, start: int, stop: int) -> Iterator[Frame]:
    """The steps of a game one by one, with a line that tells the key, its name and the score."""
    labelled = bool(store.manifest["actions"])
    for step, piece in _pieces(store, row, start, stop):
        for chars, colors, cursor, action, score in zip(*piece, strict=True):
            key = key_name(int(action)) if labelled else ""
            yield Frame(chars, colors, cursor, _caption(step, store.episodes[row].length, key, int(score)))
            step += 1


def atari_pictures(store: TrajectoryStore, row: int, start: int, stop: int) -> Iterator[np.ndarray]:
    """The steps of an Atari episode one by one, uint8 [336 + 32, 336]: the newest frame, action and score below it."""
    names = store.manifest["actions"]
    for step, piece in _pieces(store, row, start, stop):
        for stack, action, score in zip(*piece, strict=True):
            frame = np.kron(stack[:, :, -1], np.ones((_ZOOM, _ZOOM), np.uint8))
            columns = frame.shape[1] // CELL_COLUMNS
            caption = _caption(step, store.episodes[row].length, names[action], int(score))
            lines = [caption[at : at + columns].ljust(columns) for at in (0, columns)]
            codes = np.frombuffer("".join(lines).encode("latin-1", "replace"), np.uint8).reshape(2, columns)
            written = glyphs()[codes].transpose(0, 2, 1, 3).reshape(2 * CELL_ROWS, -1) * (255 // (_LEVELS - 1))
            yield np.vstack([frame, written.astype(np.uint8)])
            step += 1


def _pieces(store: TrajectoryStore, row: int, start: int, stop: int) -> Iterator[tuple[int, Any]]:
    """Steps [start, stop) of a game a chunk at a time, each with the number of its first."""
    for begin in range(start, stop, store.chunk_steps):
        yield begin, store.read(row, begin, min(stop, begin + store.chunk_steps))


def _caption(step: int, length: int, action: str, score: int) -> str:
    told = "" if score == spec.NO_SCORE else f"   score {score:,}"
    return f"step {step:,} of {length:,}   {action}{told}"


def key_name(action: int) -> str:
    """An action's key as one reads it, and NLE's name for it: `^D (KICK)`."""
    key, name = KEYS[action], nethack.ACTIONS[action].name
    if key in (27, 32):
        return f"{'Esc' if key == 27 else 'Space'} ({name})"
    if key < 32:
        return f"^{chr(key + 64)} ({name})"
    return f"{chr(key)} ({name})" if key < 127 else f"M-{chr(key - 128)} ({name})"


def show(film: Iterator[Frame], speed: float, out: TextIO) -> None:
    """Draw frames on a terminal, in place, until the last or Ctrl-C; the cursor is back afterwards."""
    out.write("\x1b[?25l\x1b[2J")
    due = time.monotonic()
    try:
        for frame in film:
            out.write("\x1b[H" + text(frame))
            out.flush()
            due += 1 / speed
            time.sleep(max(0.0, due - time.monotonic()))
    except KeyboardInterrupt:
        pass
    finally:
        out.write("\x1b[0m\x1b[?25h\n")


def text(frame: Frame) -> str:
    """A frame as 25 lines with terminal colours; the cursor's cell is inverse."""
    lines = []
    for row in range(spec.ROWS):
        line, shown = [], -1
        for column in range(spec.COLUMNS):
            color = int(frame.colors_24x80[row, column]) % len(_PALETTE)
            char = _printable(int(frame.chars_24x80[row, column]))
            if color != shown:
                line.append("\x1b[0m" if color == 0 else f"\x1b[0;{30 + color if color < 8 else 82 + color}m")
                shown = color
            if (row, column) == tuple(frame.cursor_2):
                char = f"\x1b[7m{char}\x1b[27m"
            line.append(char)
        lines.append("".join(line) + "\x1b[0m")
    return "\r\n".join([*lines, f"{frame.caption}\x1b[K"])


def save_gif(path: Path, pictures: Iterator[np.ndarray], palette: bytes, speed: float) -> None:
    """Write pictures of colour numbers, uint8, as a GIF that loops, whole or not at all."""
    from PIL import Image

    def images() -> Iterator[Image.Image]:
        for picture in pictures:
            image = Image.fromarray(picture)
            image.putpalette(palette)
            yield image

    duration = max(20, round(1000 / speed))
    with replacing(path) as scratch:
        film = images()
        next(film).save(scratch, "GIF", save_all=True, append_images=film, duration=duration, loop=0, optimize=False)


def _palette() -> bytes:
    """Every shade of every terminal colour, as `picture` numbers them."""
    colors = np.array(_PALETTE, np.float64)[:, None] * (np.arange(_LEVELS) / (_LEVELS - 1))[None, :, None]
    return colors.round().astype(np.uint8).tobytes()


def picture(frame: Frame) -> np.ndarray:
    """A frame in colour numbers, uint8 [25 * 16, 80 * 8]: 16 shades for each of 16 colours."""
    caption = np.frombuffer(frame.caption.encode("latin-1", "replace")[: spec.COLUMNS].ljust(spec.COLUMNS), np.uint8)
    chars_25x80 = np.vstack([frame.chars_24x80, caption])
    colors_25x80 = np.vstack([frame.colors_24x80, np.full(spec.COLUMNS, 15, np.uint8)]) % len(_PALETTE)
    shade = glyphs()[chars_25x80]
    row, column = (int(place) for place in frame.cursor_2)
    if row < spec.ROWS and column < spec.COLUMNS:
        shade[row, column] = _LEVELS - 1 - shade[row, column]
    cells = colors_25x80[:, :, None, None] * np.uint8(_LEVELS) + shade
    return cells.transpose(0, 2, 1, 3).reshape((spec.ROWS + 1) * CELL_ROWS, spec.COLUMNS * CELL_COLUMNS)


@cache
def glyphs() -> np.ndarray:
    """Shades, uint8 [256, 16, 8], of every character in the monospaced font that Matplotlib carries."""
    import matplotlib
    from PIL import Image, ImageDraw, ImageFont

    font = ImageFont.truetype(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSansMono.ttf", 13)
    shades = np.zeros((256, CELL_ROWS, CELL_COLUMNS), np.uint8)
    for code in range(256):
        image = Image.new("L", (CELL_COLUMNS, CELL_ROWS))
        ImageDraw.Draw(image).text((0, 0), _printable(code), fill=255, font=font)
        shades[code] = np.asarray(image) // (256 // _LEVELS)
    return shades


def _printable(code: int) -> str:
    char = chr(code)
    return char if char.isprintable() else " "
