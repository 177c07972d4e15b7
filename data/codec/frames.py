"""The codec of Atari frames, which stores the pixels that changed.

A step shows a stack of four frames. A record stores how many frames of each step are new, usually one, and for each
frame the pixels that differ from the frame before: runs in reading order, as pixels to skip since the last run, pixels
in the run, and their values. Every `SEGMENT` steps all four frames of the stack are stored, the first of them against
a blank frame, so that decoding can start there. No other frame is stored twice.
"""

import sys
import zlib
from collections.abc import Sequence

import numpy as np

from data import spec
from data.codec.base import Codec, Column
from data.codec.buffers import BufferPool
from data.codec.chunk import Chunk, CorruptChunk, parts_of
from data.codec.frame_kernels import (
    PIXELS,
    changed_pixels,
    checked,
    decode_frames,
    decode_stacks,
    new_frames,
    places,
)
from data.common.cli import UserError
from data.spec import FRAME_COLUMNS, FRAME_ROWS, STACK, AtariSteps, Batch, Observation, Rows


class FrameCodec(Codec):
    """Atari frame stacks. Columns: runs per frame, runs (skip, size), pixel values, new frames per step."""

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

    def encode_columns(self, steps: AtariSteps) -> tuple[np.ndarray, ...]:
        """See `Codec.encode_columns`."""
        stacks_Sx4x7056 = np.ascontiguousarray(np.moveaxis(steps.frames_Sx84x84x4, -1, 1)).reshape(-1, STACK, PIXELS)
        advance_S, frames_Fx7056 = new_frames(stacks_Sx4x7056)
        return *changed_pixels(advance_S, frames_Fx7056.view(np.uint64)), advance_S

    def check(self, content: np.ndarray, steps: int, sizes: list[int]) -> tuple[np.ndarray, ...]:
        """See `Codec.check`. Returns `segments`."""
        frames, runs, pixels, _ = sizes
        if runs % 2:
            raise CorruptChunk("half a run")
        begin = checked(content, steps, frames, runs, pixels)
        if not len(begin):
            raise CorruptChunk("its changed pixels leave the frame")
        return (begin,)

    def decode_rows(self, parts_PxK: np.ndarray, rows: Rows) -> None:
        """See `decode_stacks`."""
        if sys.byteorder != "little":
            raise NotImplementedError("decoding stacks needs a little-endian machine")
        stack_Nx7056 = rows.observation["frames"].reshape(-1, PIXELS * STACK).view(np.uint32)
        decode_stacks(parts_PxK, stack_Nx7056, rows.action_N, rows.episode_N, rows.mask_N)

    @property
    def inputs(self) -> tuple[str, ...]:
        """See `Codec.inputs`."""
        return "frames", "oldest"

    def empty_observation(self, lanes: int, window: int, pieces: int, buffers: BufferPool) -> Observation:
        """See `Codec.empty_observation`. Single frames: one per step, and three older ones per piece."""
        frames = window + (STACK - 1) * pieces
        return {
            "frames": buffers.take((lanes, frames, FRAME_ROWS, FRAME_COLUMNS)),
            "oldest": np.zeros((lanes, window), np.int32),
        }

    def decode_batch(self, chunks: Sequence[Chunk], span_Px4: np.ndarray, batch: Batch) -> None:
        """See `Codec.decode_batch`.

        Raises:
            IndexError: A span has no steps, steps outside its chunk or rows outside the batch.
            UserError: The stacks of an episode do not advance by one frame per step.
        """
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
            part = decode_frames(parts_Px12, place_Px2, frames_BxF.shape[1], frame_Mx882, *flat)
            if part >= 0:
                row = span_Px4[part, 3]
                raise UserError(
                    f"episode {row} of the store: its stacks do not advance by one frame per step, so they cannot be"
                    " batched as single frames: import the games again without this one"
                )
        for lane in np.flatnonzero(used_B < frames_BxF.shape[1]):
            frames_BxF[lane, used_B[lane] :] = 0

    def make_steps(
        self, observation: dict[str, np.ndarray], action_S: np.ndarray, score_S: np.ndarray, label_S: np.ndarray
    ) -> AtariSteps:
        """See `Codec.make_steps`."""
        return AtariSteps(observation["frames"], action_S, score_S)

    def identity(self, steps: AtariSteps) -> tuple[np.ndarray, ...]:
        """Actions, a CRC-32 of the newest frame of each step, and scores."""
        newest = np.ascontiguousarray(steps.frames_Sx84x84x4[..., -1])
        return steps.action_S, np.array([zlib.crc32(frame) for frame in newest], "<u4"), steps.score_S.astype("<i4")


FRAMES = FrameCodec()
