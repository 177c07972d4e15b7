"""Observations of any fixed shape to changed bytes and back.

A timestep is one row of bytes: its fields, end to end. A record keeps each row XORed with the row before, transposed,
so that what changes seldom is a run of zeros for zstd; unpacking undoes both, and any timestep can then be copied out.

Shapes: S timesteps of a chunk, W bytes of a timestep, N rows of a batch.
"""

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numba import carray  # pyright: ignore[reportPrivateImportUsage]

from data.codec.base import Codec, Column
from data.codec.buffers import BufferPool
from data.codec.kernels import kernel
from data.codec.memory import pointer
from data.spec import Field, Observation, Rows

MAX_BYTES = 1 << 20
"""Largest timestep, in bytes: a chunk holds thousands."""


class GenericSteps(NamedTuple):
    """Consecutive timesteps of one episode."""

    bytes_SxW: np.ndarray
    """uint8, the fields of the observation end to end, see `packed`."""
    action_S: np.ndarray
    """uint8, index into the action table."""
    score_S: np.ndarray
    """int32, sum of the rewards before this timestep; NO_SCORE where it is not a whole number."""


class GenericCodec(Codec):
    """XORed rows of bytes, transposed."""

    name = "bytes-zstd-1"
    magic = b"ISG1"
    no_action = 255

    def __init__(self, observation: Mapping[str, Field]) -> None:
        self.observation = dict(observation)
        self.width = sum(map(size_of, self.observation.values()))
        self.columns = (Column("u1", self.width, self.width),)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, GenericCodec) and self.observation == other.observation

    def __hash__(self) -> int:
        return hash(tuple(self.observation))

    def encode_columns(self, steps: GenericSteps) -> tuple[np.ndarray, ...]:
        """See the class."""
        changed_SxW = steps.bytes_SxW.copy()
        changed_SxW[1:] ^= steps.bytes_SxW[:-1]
        return (np.ascontiguousarray(changed_SxW.T),)

    def check(self, content: np.ndarray, steps: int, sizes: list[int]) -> tuple[np.ndarray, ...]:
        """The rows of bytes, uint8 [S, W]. There is nothing that could contradict."""
        changed_WxS = content[: sizes[0]].reshape(self.width, steps)
        return (np.ascontiguousarray(np.bitwise_xor.accumulate(changed_WxS, axis=1).T),)

    def decode_rows(self, parts_PxK: np.ndarray, rows: Rows) -> None:
        """Copy the fields out of the rows of bytes."""
        count, offset = len(rows.action_N), 0
        for name, field in self.observation.items():
            out_NxB = rows.observation[name].reshape(count, -1).view(np.uint8)
            _copy_field(parts_PxK, self.width, offset, out_NxB)
            offset += size_of(field)
        _copy_actions(parts_PxK, rows.action_N, rows.episode_N, rows.mask_N)

    def empty_observation(self, lanes: int, window: int, pieces: int, buffers: BufferPool) -> Observation:
        """See `Codec.empty_observation`; large fields lie in recycled memory whatever their dtype."""
        found = {}
        for name, field in self.observation.items():
            if size_of(field) >= 512 and field.shape:
                *outer, last = field.shape
                itemsize = np.dtype(field.dtype).itemsize
                found[name] = buffers.take((lanes, window, *outer, last * itemsize)).view(field.dtype)
            else:
                found[name] = np.zeros((lanes, window, *field.shape), field.dtype)
        return found

    def make_steps(
        self, observation: dict[str, np.ndarray], action_S: np.ndarray, score_S: np.ndarray, label_S: np.ndarray
    ) -> GenericSteps:
        """The fields as rows of bytes."""
        return GenericSteps(packed(self.observation, observation), action_S, score_S)

    def identity(self, steps: GenericSteps) -> tuple[np.ndarray, ...]:
        """Everything."""
        return steps.action_S, steps.bytes_SxW, steps.score_S.astype("<i4")


def size_of(field: Field) -> int:
    """Bytes of a field at one timestep."""
    return math.prod(field.shape) * np.dtype(field.dtype).itemsize


def packed(spec: Mapping[str, Field], observation: Mapping[str, np.ndarray]) -> np.ndarray:
    """The fields [S, ...] of an observation as rows of bytes, uint8 [S, W], in the order of the spec.

    Raises:
        ValueError: A field has another shape than the spec says.
    """
    columns = []
    for name, field in spec.items():
        array = np.ascontiguousarray(observation[name], field.dtype)
        if array.shape[1:] != field.shape:
            raise ValueError(f"{name} of shape {array.shape[1:]}, not {field.shape}")
        columns.append(array.reshape(len(array), -1).view(np.uint8))
    return np.concatenate(columns, axis=1)


def unpacked(spec: Mapping[str, Field], bytes_SxW: np.ndarray) -> dict[str, np.ndarray]:
    """What `packed` packed: the fields [S, ...], by name."""
    found, offset = {}, 0
    for name, field in spec.items():
        part = np.ascontiguousarray(bytes_SxW[:, offset : offset + size_of(field)])
        found[name] = part.view(field.dtype).reshape(len(part), *field.shape)
        offset += size_of(field)
    return found


@kernel(nogil=True)
def _copy_field(parts_Px9, width, offset, out_NxB):
    """Copy bytes [offset, offset + B) of the timesteps of each part to its rows.

    `parts_Px9`, uint64: addresses of a chunk's changed bytes, of its actions and of its rows of bytes, the action
    before it, its timesteps, start, stop, row, and the episode.
    """
    size = out_NxB.shape[1]
    for part in range(len(parts_Px9)):
        start, stop, row = parts_Px9[part, 5], parts_Px9[part, 6], parts_Px9[part, 7]
        bytes_SxW = carray(pointer(parts_Px9[part, 2]), (stop, width), np.uint8)
        for step in range(start, stop):
            for at in range(size):
                out_NxB[row, at] = bytes_SxW[step, offset + at]
            row += np.uint64(1)


@kernel(nogil=True)
def _copy_actions(parts_Px9, action_N, episode_N, mask_N):
    """Copy the actions of each part to its rows, and mark them."""
    for part in range(len(parts_Px9)):
        start, stop, row = parts_Px9[part, 5], parts_Px9[part, 6], parts_Px9[part, 7]
        action_S = carray(pointer(parts_Px9[part, 1]), (stop,), np.uint8)
        for step in range(start, stop):
            action_N[row] = action_S[step]
            episode_N[row] = parts_Px9[part, 8]
            mask_N[row] = True
            row += np.uint64(1)
