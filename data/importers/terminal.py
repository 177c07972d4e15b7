"""A terminal emulator, compiled by Numba, that renders ttyrec recordings of NLE to screens.

It implements the control sequences that NLE writes, and reports any other: such recordings are read by NLE's converter
instead, which is three times as slow. Its screens equal those of the converter bit for bit.

A recording is a sequence of frames: seconds, microseconds and size (int32 each), a channel (uint8), and a payload of
that size: output to the terminal, one key press, a score, or a label. From version 3 on a score precedes each key
press, and in version 4, of HiHack, the label of the expert's strategy follows it.
"""

import numpy as np

from data.codec.kernels import kernel
from data.spec import COLUMNS, NO_LABEL, ROWS

OUTPUT, KEY, SCORE, LABEL = range(4)
"""Channels of frames."""

HEADER = 13
"""Size of a frame without its payload, in bytes."""

MAX_PAYLOAD = 1 << 20
"""Maximum size of a payload, in bytes; those of NLE have a few thousand."""

MORE, FULL, SIZE, PLACE, UNKNOWN, ENDLESS = range(6)
"""Why `read` stops: no complete frame left; the arrays are full; a frame of an impossible size, in an impossible place,
with an unknown control sequence, or with one that would make NLE's converter run for hours."""

CELLS = ROWS * COLUMNS
_SPACE, _ESCAPE = 32, 27
_MOST = 8
"""Maximum number of parameters of a control sequence."""
_DEFAULT = -1
"""The default colour, which is none of the eight."""


def new_terminal() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A blank terminal: characters and colours, uint8 [1920], and its state, int64 [10].

    The state: row, column, colour, bold, inverse; whether a score waits for its key press, and the score; three values
    of `repeats_for_hours`.
    """
    state = np.zeros(10, np.int64)
    state[2] = _DEFAULT
    return np.full(CELLS, _SPACE, np.uint8), np.zeros(CELLS, np.uint8), state


@kernel(nogil=True)
def _write(data, at, end, chars, colors, state):
    """Write bytes [at, end) to the terminal; returns False at the first unknown control sequence."""
    row, column, color, bold, inverse = state[0], state[1], state[2], state[3], state[4]
    numbers = np.zeros(_MOST, np.int64)
    while at < end:
        byte = data[at]
        at += 1
        if _SPACE <= byte < 127:
            cell = COLUMNS * row + column
            chars[cell] = byte
            shown = color + 8 * bold if color != _DEFAULT else (0 if byte == _SPACE else 7)
            colors[cell] = shown + 16 * inverse
            column += 1
            if column == COLUMNS:
                column = 0
                row += 1
                if row == ROWS:
                    row -= 1
                    _scroll(chars, colors)
        elif byte == _ESCAPE:
            if at >= end or data[at] != 91:  # [
                return False
            at += 1
            numbers[:] = 0
            count = 0
            while at < end and (48 <= data[at] < 58 or data[at] == 59):  # digits and ;
                if data[at] == 59:
                    count += 1
                    if count == _MOST:
                        return False
                else:
                    numbers[count] = 10 * numbers[count] + data[at] - 48
                    if numbers[count] > 9999:
                        return False
                at += 1
            if at == end:
                return False
            final = data[at]
            at += 1
            first, once = numbers[0], max(numbers[0], 1)
            if final == 109:  # m: select graphic rendition
                for place in range(count + 1):
                    number = numbers[place]
                    if number == 0:
                        color, bold, inverse = _DEFAULT, 0, 0
                    elif number in (1, 22):
                        bold = 1 if first < 20 else 0
                    elif number in (7, 27):
                        inverse = 1 if first < 20 else 0
                    elif 30 <= number < 38:
                        color = number - 30
                    elif number == 39:
                        color = _DEFAULT
                    else:
                        return False
            elif final == 72:  # H: cursor position
                row, column = min(once, ROWS) - 1, min(max(numbers[1], 1), COLUMNS) - 1
            elif final == 65:  # A: up
                if once > row:
                    return False
                row -= once
            elif final == 66:  # B: down
                row = min(row + once, ROWS - 1)
            elif final == 67:  # C: right
                column = min(column + once, COLUMNS - 1)
            elif final == 68:  # D: left
                if once > column:
                    return False
                column -= once
            elif final in (75, 74) and first in (0, 2):  # K, J: clear the line or screen, from the cursor or all
                begin = COLUMNS * row + column if first == 0 else COLUMNS * row if final == 75 else 0
                stop = COLUMNS * (row + 1) if final == 75 else CELLS
                chars[begin:stop] = _SPACE
                colors[begin:stop] = 0
            else:
                return False
        elif byte == 10:
            if row < ROWS - 1:
                row += 1
            else:
                _scroll(chars, colors)
        elif byte == 13:
            column = 0
        elif byte == 8:
            column = max(column - 1, 0)
        elif byte != 7:
            return False
    state[0], state[1], state[2], state[3], state[4] = row, column, color, bold, inverse
    return True


@kernel(nogil=True)
def _scroll(chars, colors):
    chars[: CELLS - COLUMNS] = chars[COLUMNS:].copy()
    colors[: CELLS - COLUMNS] = colors[COLUMNS:].copy()
    chars[CELLS - COLUMNS :] = _SPACE
    colors[CELLS - COLUMNS :] = 0


@kernel(nogil=True)
def repeats_for_hours(data, at, end, state):
    """Whether bytes [at, end) make NLE's converter repeat a character (CSI b) more often than a screen has cells.

    It could do so for hours. Any parameter of the sequence counts, also those of a sequence that another escape
    interrupts.
    """
    mode, number, largest = state[7], state[8], state[9]
    while at < end:
        byte = data[at]
        at += 1
        if byte == _ESCAPE:
            mode = 1
        elif mode == 1:
            mode = 2 if byte in (91, 42, 43, 41) else 0  # [ * + )
        elif mode == 2:
            if 48 <= byte < 58:
                number = min(10 * number + byte - 48, 1_000_000)
                largest = max(largest, number)
            elif byte == 59:
                number = 0
            elif byte != 63:  # ?
                if byte == 98 and largest > CELLS:  # b
                    return True
                mode = 0
        if mode == 0:
            number = largest = 0
    state[7], state[8], state[9] = mode, number, largest
    return False


@kernel(nogil=True)
def read(data, version, terminal, chars_Sx1920, colors_Sx1920, cursor_Sx2, key_S, score_S, label_S, step, render):
    """Read frames and write a step for every key press.

    Args:
        data: uint8, bytes of the recording, from the start of a frame.
        version: ttyrec version, from 2 to 4.
        terminal: The terminal, as made by `new_terminal`; updated.
        chars_Sx1920, colors_Sx1920, cursor_Sx2, key_S: uint8, the arrays to write.
        score_S: int32; not written in version 2.
        label_S: int8; written in version 4 only, NO_LABEL where no label follows a key press.
        step: Index of the first step to write.
        render: False: check the frames, also for sequences that would make NLE's converter run for hours, but do not
            render them.

    Returns:
        The number of bytes read, the number of steps in the arrays, and why reading stopped.
    """
    chars, colors, state = terminal
    at = 0
    while True:
        if len(data) - at < HEADER:
            return at, step, MORE
        size = _int32(data, at + 8)
        channel = data[at + 12]
        if size <= 0 or size > MAX_PAYLOAD:
            return at, step, SIZE
        begin, end = at + HEADER, at + HEADER + size
        if end > len(data):
            return at, step, MORE
        if channel == OUTPUT:
            if render and not _write(data, begin, end, chars, colors, state):
                return at, step, UNKNOWN
            if not render and repeats_for_hours(data, begin, end, state):
                return at, step, ENDLESS
        elif channel == SCORE and version > 2 and size == 4 and not state[5]:
            state[5], state[6] = 1, _int32(data, begin)
        elif channel == KEY and size == 1 and (state[5] or version < 3):
            if step == len(key_S):
                return at, step, FULL
            if render:
                chars_Sx1920[step] = chars
                colors_Sx1920[step] = colors
            cursor_Sx2[step, 0], cursor_Sx2[step, 1] = state[0], state[1]
            key_S[step] = data[begin]
            if version > 2:
                score_S[step] = state[6]
                state[5] = 0
            if version > 3:
                label_S[step] = NO_LABEL
            step += 1
        elif channel == LABEL and version > 3 and size == 4 and step and label_S[step - 1] == NO_LABEL:
            label = _int32(data, begin)
            if not NO_LABEL < label < 128:
                return at, step, PLACE
            label_S[step - 1] = label
        else:
            return at, step, PLACE
        at = end


@kernel(nogil=True)
def _int32(data, at):
    word = np.uint32(0)
    for place in range(4):
        word |= np.uint32(data[at + place]) << np.uint32(8 * place)
    return np.int64(np.int32(word))
