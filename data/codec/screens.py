"""NetHack screens to changed cells and back: the hot loops, compiled by Numba, outside Python's lock.

A step's screen is kept as the cells that differ from a base: the screen before, an earlier screen that was put
aside (a menu opens, and closes again), or a blank one. The changed cells of a step are runs in reading order:
how many cells to skip since the last run, how many cells it has, and the character and colour of each. Every
`SEGMENT` steps the base is blank, so that reading can begin there.

Pairs lie side by side: apart, 1,024 steps take 2.5 bytes a step more of 18 after zstd. Indices are unsigned and
whole screens move as words of eight cells: with signed indices and bytes, painting takes five times as long.

Shapes: S steps of a chunk, R runs, C changed cells, 1920 cells of a screen (24 rows of 80).
"""

import numpy as np
from numba import carray, njit  # pyright: ignore[reportPrivateImportUsage]

from data import spec
from data.codec.base import Codec, Column, CorruptChunk
from data.codec.memory import ALIGNMENT, finish_stores, pointer, split_past_cache
from data.codec.runlength import GAP, add_run, most_runs, reach
from data.spec import NetHackSteps, Rows

CELLS = spec.ROWS * spec.COLUMNS
WORDS = CELLS // 8
SEGMENT = 64
"""Steps from one screen that is kept whole to the next."""

BEFORE, BLANK, RETURN, ASIDE = range(4)
"""Base of a step: the screen before; a blank one; the one put aside; the one before, which is then put aside."""

_SPACE = 32
_MOST_RUNS = most_runs(CELLS)
_POPUP = 12
"""Words of eight cells that must change for the screen before to be put aside."""


@njit(nogil=True, cache=True)
def _words_changed(a_W, b_W):
    count = 0
    for word in range(len(a_W)):
        count += a_W[word] != b_W[word]
    return count


@njit(nogil=True, cache=True)
def changed_cells(chars_SxW, colors_SxW):
    """Screens, as words uint64 [S, 240] of eight cells, to columns.

    Base of each step uint8 [S], its number of runs uint16 [S], runs (skip, size) uint8 [R, 2], cells (character,
    colour) uint8 [C, 2].
    """
    steps = len(chars_SxW)
    chars_Sx1920, colors_Sx1920 = chars_SxW.view(np.uint8), colors_SxW.view(np.uint8)
    base_S, runs_S = np.empty(steps, np.uint8), np.empty(steps, np.uint16)
    run_Rx2, cell_Cx2 = np.empty((steps * _MOST_RUNS, 2), np.uint8), np.empty((steps * CELLS, 2), np.uint8)
    blank_chars = np.full(CELLS, _SPACE, np.uint8).view(np.uint64)
    blank_colors = np.zeros(CELLS, np.uint8).view(np.uint64)
    aside = -1
    runs = cells = 0
    for step in range(steps):
        chars_W, colors_W = chars_SxW[step], colors_SxW[step]
        old_chars_W, old_colors_W = blank_chars, blank_colors
        if step % SEGMENT == 0:
            base_S[step] = BLANK
            aside = -1
        else:
            base_S[step] = BEFORE
            old = step - 1
            changed = _words_changed(chars_W, chars_SxW[old])
            if changed > 1 and aside >= 0 and _words_changed(chars_W, chars_SxW[aside]) < changed:
                base_S[step], old, aside = RETURN, aside, -1
            elif changed >= _POPUP and aside < 0:
                base_S[step], aside = ASIDE, old
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
                # The run [start, stop) is over.
                runs = add_run(run_Rx2, runs, done, start, stop)
                for place in range(start, stop):
                    cell_Cx2[cells, 0], cell_Cx2[cells, 1] = chars[place], colors[place]
                    cells += 1
                done = stop
                start, stop = cell, cell + 1
        runs_S[step] = runs - before
    return base_S, runs_S, run_Rx2[:runs].copy(), cell_Cx2[:cells].copy()


@njit(nogil=True, cache=True)
def segments(base_S, runs_S, run_Rx2, cells):
    """Where the runs and cells of each segment begin, and of all end: int64 [segments + 1, 2].

    Empty if the columns contradict each other: what passes is painted without leaving any array.
    """
    steps = len(base_S)
    begin = np.zeros((-(-steps // SEGMENT) + 1, 2), np.int64)
    wrong = np.zeros((0, 2), np.int64)
    run = cell = 0
    aside = False
    for step in range(steps):
        base = base_S[step]
        if step % SEGMENT == 0:
            begin[step // SEGMENT, 0], begin[step // SEGMENT, 1] = run, cell
            aside = False
        if (base == BLANK) != (step % SEGMENT == 0) or base > ASIDE or (base == RETURN and not aside):
            return wrong
        aside = base == ASIDE or (aside and base != RETURN)
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


@njit(nogil=True, cache=True)
def checked(painted, steps, cells, runs):
    """`segments` of columns end to end, and the cursors that the moves lead to, uint8 [S, 2].

    In one call, since each waits for Python's lock.
    """
    run = cells + 2 * steps
    move = run + runs
    base = move + 2 * steps
    runs_S, run_Rx2 = painted[cells:run].view(np.uint16), painted[run:move].reshape(-1, 2)
    begin = segments(painted[base : base + steps], runs_S, run_Rx2, cells // 2)
    cursor_Sx2 = np.empty((steps, 2), np.uint8)
    row = column = np.uint8(0)
    for step in range(steps):
        row, column = np.uint8(row + painted[move + 2 * step]), np.uint8(column + painted[move + 2 * step + 1])
        cursor_Sx2[step, 0], cursor_Sx2[step, 1] = row, column
    return begin, cursor_Sx2


@njit(nogil=True, cache=True)
def paint(parts_Px14, chars_Nx1920, colors_Nx1920, cursor_Nx2, prev_action_N, action_N, episode_N, mask_N):
    """Fill rows of a batch: of each part the steps [start, stop) of a chunk go to the rows from `row` on.

    `parts_Px14`, uint64: the addresses of a chunk's arrays (cell_Cx2, runs_S, run_Rx2, moves, base_S, action_S,
    begin, cursor_Sx2), the action before it, its steps, start, stop, row, and what to write into `episode_N`. The
    caller answers for them: columns that `segments` has checked, and steps and rows that exist.
    """
    one = np.uint64(1)
    # A cell's character in the low byte, its colour in the high one: half the stores of two planes.
    screen, aside = np.empty(CELLS, np.uint16), np.empty(CELLS, np.uint16)
    chars, colors = np.uint64(chars_Nx1920.ctypes.data), np.uint64(colors_Nx1920.ctypes.data)
    past_cache = (chars | colors) % np.uint64(ALIGNMENT) == 0
    for part in range(len(parts_Px14)):
        start, stop, row = parts_Px14[part, 10], parts_Px14[part, 11], parts_Px14[part, 12]
        segment = start // np.uint64(SEGMENT)
        begin = carray(pointer(parts_Px14[part, 6]), (segment + one, 2), np.int64)
        run, cell = np.uint64(begin[segment, 0]), np.uint64(begin[segment, 1])
        base_S = carray(pointer(parts_Px14[part, 4]), (stop,), np.uint8)
        runs_S = carray(pointer(parts_Px14[part, 1]), (stop,), np.uint16)
        # Lengths that nothing looks at.
        run_Rx2 = carray(pointer(parts_Px14[part, 2]), (one, 2), np.uint8)
        cell_C = carray(pointer(parts_Px14[part, 0]), (one,), np.uint16)
        cursor_Sx2 = carray(pointer(parts_Px14[part, 7]), (stop, 2), np.uint8)
        action_S = carray(pointer(parts_Px14[part, 5]), (stop,), np.uint8)
        before = np.uint8(parts_Px14[part, 8]) if start == 0 else action_S[start - one]
        for step in range(segment * np.uint64(SEGMENT), stop):
            base = base_S[step]
            if base == BLANK:
                screen[:] = _SPACE
            elif base == RETURN:
                screen[:] = aside
            elif base == ASIDE:
                aside[:] = screen
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
                if past_cache:
                    shift = row * np.uint64(CELLS)
                    split_past_cache(np.uint64(screen.ctypes.data), chars + shift, colors + shift, np.uint64(CELLS))
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
    """NetHack: cells (character, colour), each step's number of runs, runs (skip, size), cursor moves, bases."""

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

    def split(self, steps: NetHackSteps) -> tuple[np.ndarray, ...]:
        """See the class."""
        words = (
            np.ascontiguousarray(screen).reshape(-1, CELLS).view(np.uint64)
            for screen in (steps.chars_Sx24x80, steps.colors_Sx24x80)
        )
        moved_Sx2 = np.diff(steps.cursor_Sx2, axis=0, prepend=np.zeros((1, 2), np.uint8))
        base_S, runs_S, run_Rx2, cell_Cx2 = changed_cells(*words)
        return cell_Cx2, runs_S, run_Rx2, moved_Sx2, base_S

    def check(self, painted: np.ndarray, steps: int, sizes: list[int]) -> tuple[np.ndarray, ...]:
        """begin of the segments, cursor_Sx2."""
        cells, _, runs, _, _ = sizes
        if cells % 2 or runs % 2:
            raise CorruptChunk("half a run or half a cell")
        begin, cursor_Sx2 = checked(painted, steps, cells, runs)
        if not len(begin):
            raise CorruptChunk("its changed cells leave the screen")
        return begin, cursor_Sx2

    def draw(self, parts_PxK: np.ndarray, rows: Rows) -> None:
        """See `paint`."""
        see = rows.observation
        chars, colors = see["chars"].reshape(-1, CELLS), see["colors"].reshape(-1, CELLS)
        paint(parts_PxK, chars, colors, see["cursor"], see["prev_action"], rows.action_N, rows.episode_N, rows.mask_N)

    def steps(self, observation: dict[str, np.ndarray], action_S: np.ndarray, score_S: np.ndarray) -> NetHackSteps:
        """The previous actions are left out: they are the actions."""
        return NetHackSteps(observation["chars"], observation["colors"], observation["cursor"], action_S, score_S)

    def identity(self, steps: NetHackSteps) -> tuple[np.ndarray, ...]:
        """Actions, cursors and scores; of a recording without actions and scores, the cursors are enough."""
        return steps.action_S, steps.cursor_Sx2, steps.score_S.astype("<i4")


SCREENS = ScreenCodec()
