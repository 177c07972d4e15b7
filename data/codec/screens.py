"""The codec of NetHack screens, which stores the cells that changed. Its Numba kernels release the GIL.

A step's screen is stored as the cells that differ from a base screen: the previous screen, an earlier screen that was
saved (a menu opens, and closes again), or a blank screen. Changed cells are stored as runs in reading order: cells to
skip since the last run, cells in the run, and the character and colour of each. Every `SEGMENT` steps the base is
blank, so that decoding can start there.

The character and colour of a cell are stored side by side: in separate columns they take 2.5 bytes per step more, of
18. Indices are unsigned and whole screens are copied as words of eight cells: with signed indices and bytes, decoding
takes five times as long.

Shapes: S steps of a chunk, R runs, C changed cells, W words of eight cells, 1920 cells of a screen (24 rows of 80).
"""

import numpy as np
from numba import carray  # pyright: ignore[reportPrivateImportUsage]

from data import spec
from data.codec.base import Codec, Column
from data.codec.chunk import CorruptChunk
from data.codec.kernels import kernel
from data.codec.memory import ALIGNMENT, finish_stores, pointer, split_streaming
from data.codec.runlength import GAP, add_run, most_runs, reach
from data.spec import NetHackSteps, Rows

CELLS = spec.ROWS * spec.COLUMNS
WORDS = CELLS // 8
SEGMENT = 64
"""Steps from one screen with a blank base to the next."""

BEFORE, BLANK, RESTORE, SAVE = range(4)
"""Base of a step: the previous screen; a blank screen; the saved screen; the previous screen, which is then saved."""

_SPACE = 32
_MOST_RUNS = most_runs(CELLS)
_POPUP = 12
"""The previous screen is saved when at least this many words of eight cells change."""


@kernel(nogil=True)
def _words_changed(a_W, b_W):
    count = 0
    for word in range(len(a_W)):
        count += a_W[word] != b_W[word]
    return count


@kernel(nogil=True)
def changed_cells(chars_SxW, colors_SxW):
    """Encode screens, given as words of eight cells, uint64 [S, 240].

    Returns:
        The base of each step, uint8 [S]; its number of runs, uint16 [S]; runs (skip, size), uint8 [R, 2]; and cells
        (character, colour), uint8 [C, 2].
    """
    steps = len(chars_SxW)
    chars_Sx1920, colors_Sx1920 = chars_SxW.view(np.uint8), colors_SxW.view(np.uint8)
    base_S, runs_S = np.empty(steps, np.uint8), np.empty(steps, np.uint16)
    run_Rx2, cell_Cx2 = np.empty((steps * _MOST_RUNS, 2), np.uint8), np.empty((steps * CELLS, 2), np.uint8)
    blank_chars = np.full(CELLS, _SPACE, np.uint8).view(np.uint64)
    blank_colors = np.zeros(CELLS, np.uint8).view(np.uint64)
    saved = -1
    runs = cells = 0
    for step in range(steps):
        chars_W, colors_W = chars_SxW[step], colors_SxW[step]
        old_chars_W, old_colors_W = blank_chars, blank_colors
        if step % SEGMENT == 0:
            base_S[step] = BLANK
            saved = -1
        else:
            base_S[step] = BEFORE
            old = step - 1
            changed = _words_changed(chars_W, chars_SxW[old])
            if changed > 1 and saved >= 0 and _words_changed(chars_W, chars_SxW[saved]) < changed:
                base_S[step], old, saved = RESTORE, saved, -1
            elif changed >= _POPUP and saved < 0:
                base_S[step], saved = SAVE, old
            old_chars_W, old_colors_W = chars_SxW[old], colors_SxW[old]
        chars, colors = chars_Sx1920[step], colors_Sx1920[step]
        old_chars, old_colors = old_chars_W.view(np.uint8), old_colors_W.view(np.uint8)
        before = runs
        start = stop = done = 0
        for word in range(WORDS + 1):
            end = word == WORDS
            if not end and chars_W[word] == old_chars_W[word] and colors_W[word] == old_colors_W[word]:
                continue
            for cell in range(8 * word, 8 * word + (1 if end else 8)):
                if not end:
                    if chars[cell] == old_chars[cell] and colors[cell] == old_colors[cell]:
                        continue
                    if stop > start and cell - stop <= GAP:
                        stop = cell + 1
                        continue
                # The run [start, stop) ends here.
                runs = add_run(run_Rx2, runs, done, start, stop)
                for place in range(start, stop):
                    cell_Cx2[cells, 0], cell_Cx2[cells, 1] = chars[place], colors[place]
                    cells += 1
                done = stop
                start, stop = cell, cell + 1
        runs_S[step] = runs - before
    return base_S, runs_S, run_Rx2[:runs].copy(), cell_Cx2[:cells].copy()


@kernel(nogil=True)
def segments(base_S, runs_S, run_Rx2, cells):
    """Index of the first run and cell of each segment, followed by their total: int64 [segments + 1, 2].

    Returns an empty array if the columns are inconsistent. Otherwise decoding them stays within all arrays.
    """
    steps = len(base_S)
    begin = np.zeros((-(-steps // SEGMENT) + 1, 2), np.int64)
    wrong = np.zeros((0, 2), np.int64)
    run = cell = 0
    saved = False
    for step in range(steps):
        base = base_S[step]
        if step % SEGMENT == 0:
            begin[step // SEGMENT, 0], begin[step // SEGMENT, 1] = run, cell
            saved = False
        if (base == BLANK) != (step % SEGMENT == 0) or base > SAVE or (base == RESTORE and not saved):
            return wrong
        saved = base == SAVE or (saved and base != RESTORE)
        stop = run + np.int64(runs_S[step])
        if stop > len(run_Rx2):
            return wrong
        size, place = reach(run_Rx2, run, stop)
        if place > CELLS:
            return wrong
        run, cell = stop, cell + size
    if run != len(run_Rx2) or cell != cells:
        return wrong
    begin[-1, 0], begin[-1, 1] = run, cell
    return begin


@kernel(nogil=True)
def checked(content, steps, cells, runs):
    """`segments` of the concatenated columns, and the cursor positions (cumulative sum of the moves), uint8 [S, 2].

    A single call, because each call acquires the GIL when it returns.
    """
    run = cells + 2 * steps
    move = run + runs
    base = move + 2 * steps
    runs_S, run_Rx2 = content[cells:run].view(np.uint16), content[run:move].reshape(-1, 2)
    begin = segments(content[base : base + steps], runs_S, run_Rx2, cells // 2)
    cursor_Sx2 = np.empty((steps, 2), np.uint8)
    row = column = np.uint8(0)
    for step in range(steps):
        row, column = np.uint8(row + content[move + 2 * step]), np.uint8(column + content[move + 2 * step + 1])
        cursor_Sx2[step, 0], cursor_Sx2[step, 1] = row, column
    return begin, cursor_Sx2


@kernel(nogil=True)
def decode_screens(parts_Px14, chars_Nx1920, colors_Nx1920, cursor_Nx2, prev_action_N, action_N, episode_N, mask_N):
    """Decode steps into rows of a batch. Nothing is checked here: see `data.codec.chunk.parts_of` and `segments`.

    Args:
        parts_Px14: uint64. Each part: addresses of a chunk's arrays (cell_Cx2, runs_S, run_Rx2, moves, base_S,
            action_S, begin, cursor_Sx2), the action before the chunk, its number of steps, and a `Span`: its steps
            [start, stop) are written to the rows from `row` on.
        chars_Nx1920, colors_Nx1920, cursor_Nx2, prev_action_N, action_N, episode_N, mask_N: Arrays of the rows.
    """
    one = np.uint64(1)
    # Each cell has its character in the low byte and its colour in the high byte, which halves the stores.
    screen, saved = np.empty(CELLS, np.uint16), np.empty(CELLS, np.uint16)
    chars, colors = np.uint64(chars_Nx1920.ctypes.data), np.uint64(colors_Nx1920.ctypes.data)
    streaming = (chars | colors) % np.uint64(ALIGNMENT) == 0
    for part in range(len(parts_Px14)):
        start, stop, row = parts_Px14[part, 10], parts_Px14[part, 11], parts_Px14[part, 12]
        segment = start // np.uint64(SEGMENT)
        last = (parts_Px14[part, 9] + np.uint64(SEGMENT - 1)) // np.uint64(SEGMENT)
        begin = carray(pointer(parts_Px14[part, 6]), (last + one, 2), np.int64)
        run, cell = np.uint64(begin[segment, 0]), np.uint64(begin[segment, 1])
        base_S = carray(pointer(parts_Px14[part, 4]), (stop,), np.uint8)
        runs_S = carray(pointer(parts_Px14[part, 1]), (stop,), np.uint16)
        run_Rx2 = carray(pointer(parts_Px14[part, 2]), (np.uint64(begin[last, 0]), 2), np.uint8)
        cell_C = carray(pointer(parts_Px14[part, 0]), (np.uint64(begin[last, 1]),), np.uint16)
        cursor_Sx2 = carray(pointer(parts_Px14[part, 7]), (stop, 2), np.uint8)
        action_S = carray(pointer(parts_Px14[part, 5]), (stop,), np.uint8)
        before = np.uint8(parts_Px14[part, 8]) if start == 0 else action_S[start - one]
        for step in range(segment * np.uint64(SEGMENT), stop):
            base = base_S[step]
            if base == BLANK:
                screen[:] = _SPACE
            elif base == RESTORE:
                screen[:] = saved
            elif base == SAVE:
                saved[:] = screen
            place = np.uint64(0)
            for _ in range(runs_S[step]):
                place += np.uint64(run_Rx2[run, 0])
                size = np.uint64(run_Rx2[run, 1])
                run += one
                for at in range(size):
                    screen[place + at] = cell_C[cell + at]
                place += size
                cell += size
            if step >= start:
                if streaming:
                    shift = row * np.uint64(CELLS)
                    split_streaming(np.uint64(screen.ctypes.data), chars + shift, colors + shift, np.uint64(CELLS))
                else:
                    for at in range(CELLS):
                        chars_Nx1920[row, at] = screen[at] & 255
                    for at in range(CELLS):
                        colors_Nx1920[row, at] = screen[at] >> 8
                cursor_Nx2[row, 0], cursor_Nx2[row, 1] = cursor_Sx2[step, 0], cursor_Sx2[step, 1]
                prev_action_N[row] = before
                before = action_S[step]
                action_N[row] = before
                episode_N[row] = parts_Px14[part, 13]
                mask_N[row] = True
                row += one
    finish_stores()  # pyright: ignore[reportCallIssue]


class ScreenCodec(Codec):
    """NetHack screens. Columns: cells (character, colour), runs per step, runs (skip, size), cursor moves, bases."""

    name = "cells-zstd-2"
    magic = b"ISO3"
    observation = spec.NETHACK
    columns = (
        Column("u1", 0, 2 * CELLS),
        Column("<u2", 1, 1),
        Column("u1", 0, 2 * CELLS),
        Column("u1", 2, 2),
        Column("u1", 1, 1),
    )
    no_action = spec.NO_ACTION

    def encode_columns(self, steps: NetHackSteps) -> tuple[np.ndarray, ...]:
        """See `Codec.encode_columns`."""
        words = (
            np.ascontiguousarray(screen).reshape(-1, CELLS).view(np.uint64)
            for screen in (steps.chars_Sx24x80, steps.colors_Sx24x80)
        )
        moved_Sx2 = np.diff(steps.cursor_Sx2, axis=0, prepend=np.zeros((1, 2), np.uint8))
        base_S, runs_S, run_Rx2, cell_Cx2 = changed_cells(*words)
        return cell_Cx2, runs_S, run_Rx2, moved_Sx2, base_S

    def check(self, content: np.ndarray, steps: int, sizes: list[int]) -> tuple[np.ndarray, ...]:
        """See `Codec.check`. Returns `segments` and cursor_Sx2."""
        cells, _, runs, _, _ = sizes
        if cells % 2 or runs % 2:
            raise CorruptChunk("half a run or half a cell")
        begin, cursor_Sx2 = checked(content, steps, cells, runs)
        if not len(begin):
            raise CorruptChunk("its changed cells leave the screen")
        return begin, cursor_Sx2

    def decode_rows(self, parts_PxK: np.ndarray, rows: Rows) -> None:
        """See `decode_screens`."""
        arrays = rows.observation
        chars, colors = arrays["chars"].reshape(-1, CELLS), arrays["colors"].reshape(-1, CELLS)
        others = arrays["cursor"], arrays["prev_action"], rows.action_N, rows.episode_N, rows.mask_N
        decode_screens(parts_PxK, chars, colors, *others)

    def make_steps(
        self, observation: dict[str, np.ndarray], action_S: np.ndarray, score_S: np.ndarray, label_S: np.ndarray
    ) -> NetHackSteps:
        """See `Codec.make_steps`. `prev_action` is left out: it repeats the actions."""
        screens = observation["chars"], observation["colors"], observation["cursor"]
        return NetHackSteps(*screens, action_S, score_S, label_S)

    def labels(self, steps: NetHackSteps) -> np.ndarray:
        """See `Codec.labels`."""
        return steps.label_S

    def identity(self, steps: NetHackSteps) -> tuple[np.ndarray, ...]:
        """Actions, cursors and scores. In a recording without actions and scores the cursors suffice.

        A game is the same with and without labels.
        """
        return steps.action_S, steps.cursor_Sx2, steps.score_S.astype("<i4")


SCREENS = ScreenCodec()
