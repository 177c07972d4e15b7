"""Reads ttyrec recordings, compressed by bzip2: versions 2 and 3 of NLE, 4 of HiHack, and 1, which has screens alone.

Versions are told apart by the headers of frames, not by name: NLE 0.5 to 0.8.1 wrote version 2 as `*.ttyrec.bz2`.

Recordings of NLE are read by `data.importers.terminal`, 3.3 times as fast as by NLE's converter and with the same
result. The converter is the fallback. It does not notice truncated recordings, and writes past its buffers if frames
are out of order, so that recordings are checked before it reads them. Of version 4, which it does not know, it reads a
copy without labels.
"""

import bz2
import itertools
import struct
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from nle.dataset import Converter

from data.common.workers import stop_if_asked
from data.importers import terminal
from data.importers.base import DAMAGED, Unusable
from data.spec import COLUMNS, NO_LABEL, NO_SCORE, ROWS
from data.store.pack import CHUNK_STEPS

_BLOCK, _SOME = 1 << 24, 1 << 16
_ENDLESS = "a control sequence that repeats a character for hours"
_HEADER_1, _HEADER = struct.Struct("<iii"), struct.Struct("<iiiB")
_TELLING = 64
"""Frames by which versions are told apart: several key presses with what precedes and follows them."""

NO_KEYS = "without key presses"
"""Kind of a skipped recording."""
ONLY_SCREENS = "ttyrec version 1 has only screens: import it with --allow-no-actions"


class RecordedSteps(NamedTuple):
    """Consecutive steps of a recording. The arrays may be overwritten by the next steps."""

    chars_Sx24x80: np.ndarray
    """uint8."""
    colors_Sx24x80: np.ndarray
    """uint8, NLE's tty colours."""
    cursor_Sx2: np.ndarray
    """uint8."""
    key_S: np.ndarray
    """uint8, the key press that follows the screen; 0 in version 1."""
    score_S: np.ndarray
    """int32; NO_SCORE in versions without scores."""
    label_S: np.ndarray
    """int8; NO_LABEL in versions without labels."""


def steps(path: Path) -> Iterator[RecordedSteps]:
    """The steps of a recording of version 2, 3 or 4, CHUNK_STEPS at a time; the last may be fewer.

    Raises:
        Unusable: It is of version 1, or damaged. Raised at the damage: steps before it have been yielded.
    """
    arrays = _arrays()
    flat = _flat(arrays)
    screen, done, step, version = terminal.new_terminal(), 0, 0, 0
    for data in _Frames(path):
        version = version or version_of(data.left)
        if version == 1:
            raise Unusable(NO_KEYS, ONLY_SCREENS)
        while True:
            read, step, why = terminal.read(data.left, version, screen, *flat, step, True)
            data.skip(int(read))
            if why != terminal.FULL:
                break
            stop_if_asked()
            yield arrays
            done, step = done + step, 0
        if why == terminal.UNKNOWN:
            yield from _converted(path, version, done)
            return
        data.check(why, done + step)
    if step:
        yield RecordedSteps(*(array[:step] for array in arrays))


def screens(paths: Sequence[Path]) -> Iterator[RecordedSteps]:
    """Every frame of recordings of version 1 as a step without a key press; they share one terminal.

    Raises:
        Unusable: A recording is damaged.
    """
    converter = Converter(ROWS, COLUMNS, 1)
    for path in paths:
        frames = _count_frames(path)
        converter.load_ttyrec(str(path))
        yield from _convert(converter, frames, None)


def version_of(data: np.ndarray) -> int:
    """The version, from 1 to 4, of a recording that begins with `data`, uint8; 3 if its frames don't tell."""
    begin, begin_1 = (list(itertools.islice(_frames(data, header), _TELLING)) for header in (_HEADER, _HEADER_1))
    with_channels = list(itertools.takewhile(lambda frame: _is_frame(data, *frame), begin))
    if _are_version_1(data, begin_1) and len(begin_1) > len(with_channels):
        return 1
    channels = [int(data[at - 1]) for at, _ in with_channels]
    after_key = {after for key, after in itertools.pairwise(channels) if key == terminal.KEY}
    if terminal.LABEL in after_key:
        return 4
    return 2 if terminal.KEY in channels and terminal.SCORE not in channels else 3


def has_only_screens(path: Path) -> bool:
    """Whether a recording is of version 1; a damaged one is none."""
    try:
        with bz2.open(path) as file:
            return version_of(np.frombuffer(file.read(_SOME), np.uint8)) == 1
    except (OSError, EOFError):
        return False


def _frames(data: np.ndarray, header: struct.Struct) -> Iterator[tuple[int, int]]:
    """Places and sizes of the payloads of consecutive frames that are whole, until one of an impossible size."""
    at = header.size
    while at <= len(data):
        size = header.unpack_from(data.data, at - header.size)[2]
        if not 0 < size <= min(terminal.MAX_PAYLOAD, len(data) - at):
            return
        yield at, size
        at += size + header.size


def _is_frame(data: np.ndarray, at: int, size: int) -> bool:
    """Whether the channel of a frame, the byte before its payload, has payloads of that size."""
    sizes = {terminal.OUTPUT: size, terminal.KEY: 1, terminal.SCORE: 4, terminal.LABEL: 4}
    return sizes.get(int(data[at - 1])) == size


def _are_version_1(data: np.ndarray, frames: list[tuple[int, int]]) -> bool:
    """Whether frames that are read without a channel have times that make sense."""
    times = [_HEADER_1.unpack_from(data.data, at - _HEADER_1.size)[:2] for at, _ in frames]
    return all(second >= 0 and 0 <= micro < 1_000_000 for second, micro in times) and times == sorted(times)


def _arrays() -> RecordedSteps:
    return RecordedSteps(
        np.empty((CHUNK_STEPS, ROWS, COLUMNS), np.uint8),
        np.empty((CHUNK_STEPS, ROWS, COLUMNS), np.uint8),
        np.empty((CHUNK_STEPS, 2), np.uint8),
        np.zeros(CHUNK_STEPS, np.uint8),
        np.full(CHUNK_STEPS, NO_SCORE, np.int32),
        np.full(CHUNK_STEPS, NO_LABEL, np.int8),
    )


def _flat(arrays: RecordedSteps) -> RecordedSteps:
    """Views with the rows and columns of a screen merged, as `data.importers.terminal.read` takes them."""
    chars, colors, *others = arrays
    return RecordedSteps(chars.reshape(CHUNK_STEPS, -1), colors.reshape(CHUNK_STEPS, -1), *others)


def converter_buffers() -> tuple[np.ndarray, ...]:
    """Arrays of CHUNK_STEPS steps for NLE's converter: characters, colours, cursors, times, keys, scores."""
    return (
        np.zeros((CHUNK_STEPS, ROWS, COLUMNS), np.uint8),
        np.zeros((CHUNK_STEPS, ROWS, COLUMNS), np.int8),
        np.zeros((CHUNK_STEPS, 2), np.int16),
        np.zeros(CHUNK_STEPS, np.int64),
        np.zeros(CHUNK_STEPS, np.uint8),
        np.full(CHUNK_STEPS, NO_SCORE, np.int32),
    )


def _converted(path: Path, version: int, skip: int) -> Iterator[RecordedSteps]:
    """The steps after the first `skip`, a multiple of CHUNK_STEPS, read by NLE's converter."""
    keys, labels = _keys(path, version)
    with tempfile.TemporaryDirectory() as folder:
        if version == 4:
            path = _without_labels(path, Path(folder) / "recording.ttyrec3.bz2")
        converter = Converter(ROWS, COLUMNS, min(version, 3))
        converter.load_ttyrec(str(path))
        for number, converted in enumerate(_convert(converter, len(keys), keys)):
            start = number * CHUNK_STEPS
            if start >= skip:
                yield converted._replace(label_S=labels[start : start + len(converted.key_S)])


def _without_labels(path: Path, copy: Path) -> Path:
    """Copy a recording of version 4, which was checked, as version 3."""
    with bz2.open(copy, "wb") as file:
        for data in _Frames(path):
            end = 0
            for at, size in _frames(data.left, _HEADER):
                end = at + size
                if data.left[at - 1] != terminal.LABEL:
                    file.write(data.left[at - _HEADER.size : end].tobytes())
            data.skip(end)
    return copy


def _convert(converter: Converter, steps: int, keys: np.ndarray | None) -> Iterator[RecordedSteps]:
    """Read `steps` steps of the recording that the converter has loaded, and compare their key presses with `keys`.

    The last step may be missing: the converter omits a frame at the very end of the bzip2 stream.
    """
    buffers = chars, colors, cursor, _, pressed, scores = converter_buffers()
    for start in range(0, steps, CHUNK_STEPS):
        count = CHUNK_STEPS - converter.convert(*buffers)
        agrees = keys is None or np.array_equal(pressed[:count], keys[start : start + count])
        if count < min(CHUNK_STEPS, steps - 1 - start) or not agrees:
            raise Unusable(DAMAGED, f"NLE's converter stops or differs after step {start}")
        stop_if_asked()
        if not count:
            return
        yield RecordedSteps(
            chars[:count],
            colors[:count].view(np.uint8),
            cursor[:count].astype(np.uint8),
            pressed[:count],
            scores[:count],
            np.full(count, NO_LABEL, np.int8),
        )


def _keys(path: Path, version: int) -> tuple[np.ndarray, np.ndarray]:
    """Key presses, uint8 [steps], and labels, int8 [steps], of a recording. Checks all but output to the terminal."""
    flat = _flat(_arrays())
    screen, found, labels = terminal.new_terminal(), [np.zeros(0, np.uint8)], [np.zeros(0, np.int8)]
    for data in _Frames(path):
        while True:
            read, step, why = terminal.read(data.left, version, screen, *flat, 0, False)
            data.skip(int(read))
            found.append(flat.key_S[:step].copy())
            labels.append(flat.label_S[:step].copy())
            if why != terminal.FULL:
                break
        data.check(why, sum(map(len, found)))
    return np.concatenate(found), np.concatenate(labels)


def _count_frames(path: Path) -> int:
    """Number of frames of a recording of version 1. Checks that all are complete."""
    count, (_, _, state) = 0, terminal.new_terminal()
    for data in _Frames(path):
        left, at = data.left.data, 0
        while len(left) - at >= _HEADER_1.size:
            _, _, size = _HEADER_1.unpack_from(left, at)
            if not 0 < size <= terminal.MAX_PAYLOAD:
                raise Unusable(DAMAGED, f"a frame of {size} bytes")
            if at + _HEADER_1.size + size > len(left):
                break
            at += _HEADER_1.size + size
            if terminal.repeats_for_hours(data.left, at - size, at, state):
                raise Unusable(DAMAGED, _ENDLESS)
            count += 1
        data.skip(at)
    return count


class _Frames:
    """The bytes of a recording in blocks. The unread rest of a block is prepended to the next."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.left = np.zeros(0, np.uint8)

    def __iter__(self) -> Iterator["_Frames"]:
        for block in _decompressed(self._path):
            self.left = np.concatenate([self.left, np.frombuffer(block, np.uint8)])
            yield self
        if len(self.left):
            raise Unusable(DAMAGED, "cut short inside a frame")

    def skip(self, count: int) -> None:
        """Drop the first `count` bytes."""
        self.left = self.left[count:]

    def check(self, why: int, keys: int) -> None:
        """Raise `Unusable` if `data.importers.terminal.read` stopped because of damage."""
        if why == terminal.SIZE:
            size = int(self.left[8:12].view("<i4")[0])
            raise Unusable(DAMAGED, f"a frame of {size} bytes")
        if why == terminal.ENDLESS:
            raise Unusable(DAMAGED, _ENDLESS)
        if why == terminal.PLACE:
            raise Unusable(DAMAGED, f"a frame out of place after {keys} key presses")


def _decompressed(path: Path) -> Iterator[bytes]:
    """The content of a bzip2 file, in blocks. It must be exactly one stream: the converter reads no further."""
    unzip = bz2.BZ2Decompressor()
    compressed = path.read_bytes()
    try:
        while not unzip.eof:
            block = unzip.decompress(compressed, _BLOCK)
            compressed = b""
            if not block and unzip.needs_input:
                raise Unusable(DAMAGED, "cut short")
            yield block
    except OSError as error:
        raise Unusable(DAMAGED, "not valid bzip2 data") from error
    if unzip.unused_data:
        raise Unusable(DAMAGED, f"{len(unzip.unused_data)} bytes follow the end of its bzip2 stream")
