"""Atari frames to changed pixels and back: the hot loops, compiled by Numba, outside Python's lock.

A step shows the last four frames. Its record holds how many frames are new since the step before, one as a rule,
and of each frame the pixels that differ from the frame before: runs in reading order, how many pixels to skip
since the last run, how many pixels it has, and their values. Every `SEGMENT` steps all four frames of the step are
kept, the first of them whole, so that reading can begin there. No other frame is stored twice.

Shapes: S steps of a chunk, F frames, R runs, C changed pixels, 7056 pixels of a frame (84 rows of 84).
"""

import sys
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from numba import carray, njit  # pyright: ignore[reportPrivateImportUsage]

from data import spec
from data.codec.base import Chunk, Codec, Column, CorruptChunk, parts_of
from data.codec.buffers import BufferPool
from data.codec.memory import ALIGNMENT, copy_past_cache, finish_stores, pointer
from data.codec.runlength import GAP, add_run, most_runs, reach
from data.common.cli import UserError
from data.spec import FRAME_COLUMNS, FRAME_ROWS, STACK, AtariSteps, Batch, Observation, Rows

PIXELS = FRAME_ROWS * FRAME_COLUMNS
WORDS = PIXELS // 8
SEGMENT = 16
"""Steps from one that can be read without those before it to the next."""

_MOST_RUNS = most_runs(PIXELS)


@njit(nogil=True, cache=True)
def new_frames(stacks_Sx4x7056):
    """How many frames of each step's four are new, uint8 [S], and these frames, one after the other, uint8 [F, 7056].

    All four are new where a segment begins, and where no fewer would do.
    """
    steps = len(stacks_Sx4x7056)
    advance_S = np.empty(steps, np.uint8)
    frames_Fx7056 = np.empty((4 * steps, PIXELS), np.uint8)
    count = 0
    for step in range(steps):
        stack, new = stacks_Sx4x7056[step], 4
        if step % SEGMENT:
            before = stacks_Sx4x7056[step - 1]
            for fewer in range(4):
                if np.array_equal(stack[: 4 - fewer], before[fewer:]):
                    new = fewer
                    break
        advance_S[step] = new
        for frame in range(4 - new, 4):
            frames_Fx7056[count] = stack[frame]
            count += 1
    return advance_S, frames_Fx7056[:count]


@njit(nogil=True, cache=True)
def changed_pixels(advance_S, frames_Fx882):
    """Frames, as words uint64 [F, 882] of eight pixels, to columns.

    Number of runs of each frame uint16 [F], runs (skip, size) uint8 [R, 2], values uint8 [C].
    """
    frames_Fx7056 = frames_Fx882.view(np.uint8)
    runs_F = np.empty(len(frames_Fx882), np.uint16)
    # Grown as needed: the most that could be needed is 60 times what is.
    run_Rx2, pixel_C = np.empty((_MOST_RUNS * 16, 2), np.uint8), np.empty(PIXELS * 16, np.uint8)
    blank = np.zeros(WORDS, np.uint64)
    runs = pixels = frame = 0
    for step in range(len(advance_S)):
        for new in range(advance_S[step]):
            if runs + _MOST_RUNS > len(run_Rx2):
                run_Rx2 = np.concatenate((run_Rx2, np.empty_like(run_Rx2)))
            if pixels + PIXELS > len(pixel_C):
                pixel_C = np.concatenate((pixel_C, np.empty_like(pixel_C)))
            words = frames_Fx882[frame]
            old_words = blank if step % SEGMENT == 0 and new == 0 else frames_Fx882[frame - 1]
            values, old_values = frames_Fx7056[frame], old_words.view(np.uint8)
            before = runs
            start = stop = done = 0
            for word in range(WORDS + 1):
                end = word == WORDS
                if not end and words[word] == old_words[word]:
                    continue
                for place in range(8 * word, 8 * word + (1 if end else 8)):
                    if not end:
                        if values[place] == old_values[place]:
                            continue
                        if stop > start and place - stop <= GAP:
                            stop = place + 1
                            continue
                    # The run [start, stop) is over.
                    runs = add_run(run_Rx2, runs, done, start, stop)
                    pixel_C[pixels : pixels + stop - start] = values[start:stop]
                    pixels += stop - start
                    done = stop
                    start, stop = place, place + 1
            runs_F[frame] = runs - before
            frame += 1
    return runs_F, run_Rx2[:runs].copy(), pixel_C[:pixels].copy()


@njit(nogil=True, cache=True)
def segments(advance_S, runs_F, run_Rx2, pixels):
    """Where the frames, runs and pixels of each segment begin, and of all end: int64 [segments + 1, 3].

    Empty if the columns contradict each other: what passes is painted without leaving any array.
    """
    steps = len(advance_S)
    begin = np.zeros((-(-steps // SEGMENT) + 1, 3), np.int64)
    wrong = np.zeros((0, 3), np.int64)
    frame = run = pixel = 0
    for step in range(steps):
        advance = np.int64(advance_S[step])
        if step % SEGMENT == 0:
            begin[step // SEGMENT] = (frame, run, pixel)
            if advance != 4:
                return wrong
        if advance > 4 or frame + advance > len(runs_F):
            return wrong
        for _ in range(advance):
            stop = run + np.int64(runs_F[frame])
            if stop > len(run_Rx2):
                return wrong
            size, place = reach(run_Rx2, run, stop)
            if place > PIXELS:
                return wrong
            frame, run, pixel = frame + 1, stop, pixel + size
    if frame != len(runs_F) or run != len(run_Rx2) or pixel != pixels:
        return wrong
    begin[-1] = (frame, run, pixel)
    return begin


@njit(nogil=True, cache=True)
def checked(painted, steps, frames, runs, pixels):
    """`segments` of columns end to end."""
    pixel = 2 * frames + runs
    advance = pixel + pixels
    runs_F, run_Rx2 = painted[: 2 * frames].view(np.uint16), painted[2 * frames : pixel].reshape(-1, 2)
    return segments(painted[advance : advance + steps], runs_F, run_Rx2, pixels)


@njit(nogil=True, cache=True, inline="always")
def change(frame_7056, runs, run, run_Rx2, pixel, pixel_C):
    """Make a frame the next one, by so many runs from `run` on and pixels from `pixel` on; where both end."""
    place = np.uint64(0)
    for _ in range(runs):
        place += np.uint64(run_Rx2[run, 0])
        size = np.uint64(run_Rx2[run, 1])
        run += np.uint64(1)
        for offset in range(size):
            frame_7056[place + offset] = pixel_C[pixel + offset]
        place += size
        pixel += size
    return run, pixel


@njit(nogil=True, cache=True, inline="always")
def columns(part_12) -> Any:
    """The arrays of a part's chunk: advance_S, action_S, runs_F, run_Rx2, pixel_C; the last three of any length."""
    stop = part_12[9]
    return (
        carray(pointer(part_12[3]), (stop,), np.uint8),
        carray(pointer(part_12[4]), (stop,), np.uint8),
        carray(pointer(part_12[0]), (1,), np.uint16),
        carray(pointer(part_12[1]), (1, 2), np.uint8),
        carray(pointer(part_12[2]), (1,), np.uint8),
    )


@njit(nogil=True, cache=True, inline="always")
def beginning(part_12, advance_S) -> Any:
    """Where the reading of a part begins: the step, and its first frame, run and pixel.

    And, less four, how many frames there are until its first step's last: those more than four before are in no stack.
    """
    one, start, stop = np.uint64(1), part_12[8], part_12[9]
    segment = start // np.uint64(SEGMENT)
    begin = carray(pointer(part_12[5]), (segment + one, 3), np.int64)
    first, unseen = segment * np.uint64(SEGMENT), np.int64(-4)
    for step in range(first, min(start + one, stop)):
        unseen += np.int64(advance_S[step])
    return first, np.uint64(begin[segment, 0]), np.uint64(begin[segment, 1]), np.uint64(begin[segment, 2]), unseen


@njit(nogil=True, cache=True)
def paint(parts_Px12, stack_Nx7056, action_N, episode_N, mask_N):
    """Fill rows of a batch: of each part the steps [start, stop) of a chunk go to the rows from `row` on.

    `stack_Nx7056`, uint32: a pixel's four frames, the oldest in the low byte. `parts_Px12`, uint64: the addresses of
    a chunk's arrays (runs_F, run_Rx2, pixel_C, advance_S, action_S, begin), the action before it, its steps, start,
    stop, row, and what to write into `episode_N`. The caller answers for them: columns that `segments` has checked,
    and steps and rows that exist.
    """
    one = np.uint64(1)
    frame, stack = np.empty(PIXELS, np.uint8), np.empty(PIXELS, np.uint32)
    stacks = np.uint64(stack_Nx7056.ctypes.data)
    past_cache = stacks % np.uint64(ALIGNMENT) == 0
    for part in range(len(parts_Px12)):
        start, stop, row = parts_Px12[part, 8], parts_Px12[part, 9], parts_Px12[part, 10]
        advance_S, action_S, runs_F, run_Rx2, pixel_C = columns(parts_Px12[part])
        first, at, run, pixel, unseen = beginning(parts_Px12[part], advance_S)
        for step in range(first, stop):
            if step % np.uint64(SEGMENT) == 0:
                frame[:] = 0
            for _ in range(advance_S[step]):
                run, pixel = change(frame, runs_F[at], run, run_Rx2, pixel, pixel_C)
                at += one
                unseen -= 1
                if unseen < 0:
                    for cell in range(PIXELS):
                        stack[cell] = stack[cell] >> np.uint32(8) | np.uint32(frame[cell]) << np.uint32(24)
            if step >= start:
                if past_cache:
                    size = np.uint64(4 * PIXELS)
                    copy_past_cache(np.uint64(stack.ctypes.data), stacks + row * size, size)
                else:
                    stack_Nx7056[row] = stack
                action_N[row] = action_S[step]
                episode_N[row] = parts_Px12[part, 11]
                mask_N[row] = True
                row += one
    finish_stores()  # pyright: ignore[reportCallIssue]


@njit(cache=True)
def places(span_Px4, window, frames):
    """Where the frames of each part go, in batches of `frames` a lane: int64 [P, 2].

    The first of them, and whether the part goes on where the one before it ended. And how many each lane has,
    int64 [lanes], up to the last lane that has any.
    """
    place_Px2 = np.empty((len(span_Px4), 2), np.int64)
    used_B = np.zeros(span_Px4[-1, 2] // window + 1, np.int64)
    pieces = 0
    for part in range(len(span_Px4)):
        start, stop, row, episode = span_Px4[part]
        lane = row // window
        goes_on = part > 0 and span_Px4[part - 1, 2] // window == lane and span_Px4[part - 1, 3] == episode
        pieces = pieces if goes_on else pieces + 1 if used_B[lane] else 1
        place = row % window + (STACK - 1) * (pieces - 1)
        place_Px2[part, 0], place_Px2[part, 1] = lane * frames + place, goes_on
        used_B[lane] = place + STACK - 1 + stop - start
    return place_Px2, used_B


@njit(nogil=True, cache=True)
def differ(one_882, other_882):
    """Whether two frames, as words, are not the same."""
    bits = np.uint64(0)
    for word in range(WORDS):
        bits |= one_882[word] ^ other_882[word]
    return bits != 0


@njit(nogil=True, cache=True)
def lay_out(parts_Px12, place_Px2, frames, frame_Mx882, oldest_N, action_N, episode_N, mask_N):
    """Write the frames of each part, as words of eight pixels, from its place on, and fill its rows; see `paint`.

    The first part whose stacks do not move on by a frame a step, as the places take for granted, or -1.
    """
    one = np.uint64(1)
    words = np.empty(WORDS, np.uint64)
    frame = words.view(np.uint8)
    for part in range(len(parts_Px12)):
        start, stop, row = parts_Px12[part, 8], parts_Px12[part, 9], parts_Px12[part, 10]
        advance_S, action_S, runs_F, run_Rx2, pixel_C = columns(parts_Px12[part])
        first, at, run, pixel, unseen = beginning(parts_Px12[part], advance_S)
        oldest = np.uint64(place_Px2[part, 0])
        # Of the step's four frames, the older ones that are written already.
        known = np.int64(STACK - 1) if place_Px2[part, 1] else np.int64(0)
        for step in range(first, stop):
            advance = np.int64(advance_S[step])
            if step % np.uint64(SEGMENT) == 0:
                words[:] = 0
            elif step > start and advance > 1:
                return part
            for number in range(advance):
                run, pixel = change(frame, runs_F[at], run, run_Rx2, pixel, pixel_C)
                at += one
                unseen -= 1
                if unseen < 0:
                    # The first step has the last four until then; a later step brings the last of its own.
                    slot = -1 - unseen if step <= start else np.int64(STACK) - advance + number
                    target = frame_Mx882[oldest + np.uint64(slot)]
                    if slot >= known:
                        target[:] = words
                    elif differ(target, words):
                        return part
            if step > start and advance == 0:
                # As before, all of it: that is a step on only where the four before are one.
                for older in range(STACK):
                    if differ(frame_Mx882[oldest - one + np.uint64(older)], words):
                        return part
                frame_Mx882[oldest + np.uint64(STACK - 1)] = words
            if step >= start:
                known = np.int64(STACK - 1)
                oldest_N[row] = oldest % np.uint64(frames)
                action_N[row] = action_S[step]
                episode_N[row] = parts_Px12[part, 11]
                mask_N[row] = True
                row += one
                oldest += one
    return -1


class FrameCodec(Codec):
    """Atari: number of runs of each frame, runs (skip, size), pixels, new frames of each step."""

    name = "frames-zstd-2"
    magic = b"ISF2"
    observation = spec.ATARI
    columns = (
        Column("<u2", 0, STACK),
        Column("u1", 0, 2 * STACK * PIXELS),
        Column("u1", 0, STACK * PIXELS),
        Column("u1", 1, 1),
    )
    no_action = 255

    def split(self, steps: AtariSteps) -> tuple[np.ndarray, ...]:
        """See the class."""
        stacks_Sx4x7056 = np.ascontiguousarray(np.moveaxis(steps.frames_Sx84x84x4, -1, 1)).reshape(-1, STACK, PIXELS)
        advance_S, frames_Fx7056 = new_frames(stacks_Sx4x7056)
        return *changed_pixels(advance_S, frames_Fx7056.view(np.uint64)), advance_S

    def check(self, painted: np.ndarray, steps: int, sizes: list[int]) -> tuple[np.ndarray, ...]:
        """begin of the segments."""
        frames, runs, pixels, _ = sizes
        if runs % 2:
            raise CorruptChunk("half a run")
        begin = checked(painted, steps, frames, runs, pixels)
        if not len(begin):
            raise CorruptChunk("its changed pixels leave the frame")
        return (begin,)

    def draw(self, parts_PxK: np.ndarray, rows: Rows) -> None:
        """See `paint`."""
        if sys.byteorder != "little":
            raise NotImplementedError("the four frames of a pixel are written as one little-endian word")
        stack_Nx7056 = rows.observation["frames"].reshape(-1, PIXELS * STACK).view(np.uint32)
        paint(parts_PxK, stack_Nx7056, rows.action_N, rows.episode_N, rows.mask_N)

    @property
    def inputs(self) -> tuple[str, ...]:
        """See the class."""
        return "frames", "oldest"

    def arrays(self, lanes: int, window: int, pieces: int, room: BufferPool) -> Observation:
        """Single frames: the steps', and the three older ones with which each piece begins."""
        frames = window + (STACK - 1) * pieces
        return {
            "frames": room.take((lanes, frames, FRAME_ROWS, FRAME_COLUMNS)),
            "oldest": np.zeros((lanes, window), np.int32),
        }

    def fill(self, chunks: Sequence[Chunk], span_Px4: np.ndarray, batch: Batch) -> None:
        """See `Codec.fill`; `UserError` for stacks that do not move on by a frame a step."""
        frames_BxF, (lanes, window) = batch.observation["frames"], batch.mask.shape
        used_B = np.zeros(lanes, np.int64)
        if chunks:
            place_Px2, used = places(span_Px4, window, frames_BxF.shape[1])
            if used.max() > frames_BxF.shape[1] or (span_Px4[:, 0] >= span_Px4[:, 1]).any():
                raise IndexError(f"{used.max()} frames in a lane of {frames_BxF.shape[1]}, or a part without steps")
            used_B[: len(used)] = used
            frame_Mx882 = frames_BxF.reshape(-1, PIXELS).view(np.uint64)
            columns = (batch.observation["oldest"], batch.action, batch.episode, batch.mask)
            parts_Px12, flat = parts_of(chunks, span_Px4, lanes * window), [column.reshape(-1) for column in columns]
            part = lay_out(parts_Px12, place_Px2, frames_BxF.shape[1], frame_Mx882, *flat)
            if part >= 0:
                row = span_Px4[part, 3]
                raise UserError(
                    f"game {row} of the store: its stacks do not move on by a frame a step, so they can't be batched"
                    " as single frames: import it again without it"
                )
        for lane in np.flatnonzero(used_B < frames_BxF.shape[1]):
            frames_BxF[lane, used_B[lane] :] = 0

    def steps(self, observation: dict[str, np.ndarray], action_S: np.ndarray, score_S: np.ndarray) -> AtariSteps:
        """As they are."""
        return AtariSteps(observation["frames"], action_S, score_S)

    def identity(self, steps: AtariSteps) -> tuple[np.ndarray, ...]:
        """Actions, a checksum of each newest frame, scores."""
        newest = np.ascontiguousarray(steps.frames_Sx84x84x4[..., -1])
        return steps.action_S, np.array([zlib.crc32(frame) for frame in newest], "<u4"), steps.score_S.astype("<i4")


FRAMES = FrameCodec()
