"""Numba kernels of the Atari codec: frames to changed pixels and back. They release the GIL.

Shapes: S steps of a chunk, F frames, R runs, C changed pixels, 7056 pixels of a frame (84 rows of 84), 882 words of
eight pixels; P parts, N rows and M frames of a batch.
"""

from typing import Any

import numpy as np
from numba import carray  # pyright: ignore[reportPrivateImportUsage]

from data.codec.kernels import kernel
from data.codec.memory import ALIGNMENT, copy_streaming, finish_stores, pointer
from data.codec.runlength import GAP, add_run, most_runs, reach
from data.spec import FRAME_COLUMNS, FRAME_ROWS, STACK

PIXELS = FRAME_ROWS * FRAME_COLUMNS
WORDS = PIXELS // 8
SEGMENT = 16
"""Steps from one that can be decoded without those before it to the next."""

_MOST_RUNS = most_runs(PIXELS)


@kernel(nogil=True)
def new_frames(stacks_Sx4x7056):
    """The frames in each step's stack that the step before does not have.

    At the start of a segment all four frames of a stack count as new.

    Returns:
        The number of new frames of each step, uint8 [S], and these frames, uint8 [F, 7056].
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


@kernel(nogil=True)
def changed_pixels(advance_S, frames_Fx882):
    """Encode frames, given as words of eight pixels, uint64 [F, 882].

    Returns:
        The number of runs of each frame, uint16 [F]; runs (skip, size), uint8 [R, 2]; and pixel values, uint8 [C].
    """
    frames_Fx7056 = frames_Fx882.view(np.uint8)
    runs_F = np.empty(len(frames_Fx882), np.uint16)
    # Grown as needed: the worst case is 60 times the usual size.
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
                    # The run [start, stop) ends here.
                    runs = add_run(run_Rx2, runs, done, start, stop)
                    pixel_C[pixels : pixels + stop - start] = values[start:stop]
                    pixels += stop - start
                    done = stop
                    start, stop = place, place + 1
            runs_F[frame] = runs - before
            frame += 1
    return runs_F, run_Rx2[:runs].copy(), pixel_C[:pixels].copy()


@kernel(nogil=True)
def segments(advance_S, runs_F, run_Rx2, pixels):
    """Index of the first frame, run and pixel of each segment, followed by their total: int64 [segments + 1, 3].

    Returns an empty array if the columns are inconsistent. Otherwise decoding them stays within all arrays.
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


@kernel(nogil=True)
def checked(content, steps, frames, runs, pixels):
    """`segments` of the concatenated columns."""
    pixel = 2 * frames + runs
    advance = pixel + pixels
    runs_F, run_Rx2 = content[: 2 * frames].view(np.uint16), content[2 * frames : pixel].reshape(-1, 2)
    return segments(content[advance : advance + steps], runs_F, run_Rx2, pixels)


@kernel(nogil=True, inline="always")
def change(frame_7056, runs, run, run_Rx2, pixel, pixel_C):
    """Apply `runs` runs to a frame in place, which turns it into the next frame.

    `run` and `pixel` are the first run and pixel to apply; returns those that follow.
    """
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


@kernel(nogil=True, inline="always")
def columns(part_12) -> Any:
    """The arrays of a part's chunk: advance_S, action_S, runs_F, run_Rx2, pixel_C."""
    stop, last = part_12[9], (part_12[7] + np.uint64(SEGMENT - 1)) // np.uint64(SEGMENT)
    begin = carray(pointer(part_12[5]), (last + np.uint64(1), 3), np.int64)
    return (
        carray(pointer(part_12[3]), (stop,), np.uint8),
        carray(pointer(part_12[4]), (stop,), np.uint8),
        carray(pointer(part_12[0]), (np.uint64(begin[last, 0]),), np.uint16),
        carray(pointer(part_12[1]), (np.uint64(begin[last, 1]), 2), np.uint8),
        carray(pointer(part_12[2]), (np.uint64(begin[last, 2]),), np.uint8),
    )


@kernel(nogil=True, inline="always")
def beginning(part_12, advance_S) -> Any:
    """Where decoding a part starts: the step, and the index of its first frame, run and pixel.

    The last value is the number of frames to decode before those in the part's first stack.
    """
    one, start, stop = np.uint64(1), part_12[8], part_12[9]
    segment = start // np.uint64(SEGMENT)
    begin = carray(pointer(part_12[5]), (segment + one, 3), np.int64)
    first, unseen = segment * np.uint64(SEGMENT), np.int64(-4)
    for step in range(first, min(start + one, stop)):
        unseen += np.int64(advance_S[step])
    return first, np.uint64(begin[segment, 0]), np.uint64(begin[segment, 1]), np.uint64(begin[segment, 2]), unseen


@kernel(nogil=True)
def decode_stacks(parts_Px12, stack_Nx7056, action_N, episode_N, mask_N):
    """Decode steps into rows of stacked frames. Nothing is checked: see `data.codec.chunk.parts_of` and `segments`.

    Args:
        parts_Px12: uint64. Each part: addresses of a chunk's arrays (runs_F, run_Rx2, pixel_C, advance_S, action_S,
            begin), the action before the chunk, its number of steps, and a `Span`: its steps [start, stop) are
            written to the rows from `row` on.
        stack_Nx7056: uint32, the four frames of each pixel, the oldest in the low byte.
        action_N, episode_N, mask_N: The other arrays of the rows.
    """
    one = np.uint64(1)
    frame, stack = np.empty(PIXELS, np.uint8), np.empty(PIXELS, np.uint32)
    stacks = np.uint64(stack_Nx7056.ctypes.data)
    streaming = stacks % np.uint64(ALIGNMENT) == 0
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
                if streaming:
                    size = np.uint64(4 * PIXELS)
                    copy_streaming(np.uint64(stack.ctypes.data), stacks + row * size, size)
                else:
                    stack_Nx7056[row] = stack
                action_N[row] = action_S[step]
                episode_N[row] = parts_Px12[part, 11]
                mask_N[row] = True
                row += one
    finish_stores()  # pyright: ignore[reportCallIssue]


@kernel()
def places(span_Px4, window, frames):
    """Plan where the frames of each part go in a batch with `frames` frames per lane.

    Returns:
        int64 [P, 2], index of the part's first frame, and whether the part continues the one before it; and int64
        [lanes], the number of frames in each lane, up to the last lane that has any.
    """
    place_Px2 = np.empty((len(span_Px4), 2), np.int64)
    used_B = np.zeros(span_Px4[-1, 2] // window + 1, np.int64)
    pieces = 0
    for part in range(len(span_Px4)):
        start, stop, row, episode = span_Px4[part]
        lane = row // window
        continues = part > 0 and span_Px4[part - 1, 2] // window == lane and span_Px4[part - 1, 3] == episode
        pieces = pieces if continues else pieces + 1 if used_B[lane] else 1
        place = row % window + (STACK - 1) * (pieces - 1)
        place_Px2[part, 0], place_Px2[part, 1] = lane * frames + place, continues
        used_B[lane] = place + STACK - 1 + stop - start
    return place_Px2, used_B


@kernel(nogil=True)
def differ(one_882, other_882):
    """Whether two frames, given as words, differ."""
    bits = np.uint64(0)
    for word in range(WORDS):
        bits |= one_882[word] ^ other_882[word]
    return bits != 0


@kernel(nogil=True)
def decode_frames(parts_Px12, place_Px2, frames, frame_Mx882, oldest_N, action_N, episode_N, mask_N):
    """Decode steps into single frames, each written once, and rows that index them.

    Args:
        parts_Px12: See `decode_stacks`.
        place_Px2: See `places`.
        frames: Frames per lane.
        frame_Mx882: The frames of all lanes, as words of eight pixels.
        oldest_N: int32, index within the lane of the oldest of the step's four frames.
        action_N, episode_N, mask_N: The other arrays of the rows.

    Returns:
        Index of the first part whose stacks do not advance by one frame per step; -1 if there is none.
    """
    one = np.uint64(1)
    words = np.empty(WORDS, np.uint64)
    frame = words.view(np.uint8)
    for part in range(len(parts_Px12)):
        start, stop, row = parts_Px12[part, 8], parts_Px12[part, 9], parts_Px12[part, 10]
        advance_S, action_S, runs_F, run_Rx2, pixel_C = columns(parts_Px12[part])
        first, at, run, pixel, unseen = beginning(parts_Px12[part], advance_S)
        oldest = np.uint64(place_Px2[part, 0])
        # How many of the step's four frames, counted from the oldest, are written already.
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
                    # The first step needs the last four frames up to it; a later step adds its own new ones.
                    slot = -1 - unseen if step <= start else np.int64(STACK) - advance + number
                    target = frame_Mx882[oldest + np.uint64(slot)]
                    if slot >= known:
                        target[:] = words
                    elif differ(target, words):
                        return part
            if step > start and advance == 0:
                # The stack did not change: an advance by one frame only if its four frames are equal.
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
