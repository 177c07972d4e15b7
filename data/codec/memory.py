"""What Numba has no word for: arrays at an address, and stores past the caches.

A batch is written once and read by somebody else, later. Ordinary stores first fetch the memory that they are about
to overwrite; stores past the caches don't, and leave in them what is read again. Screens are painted a tenth faster
on one thread so, and two threads are less in each other's way.
"""

import math
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types  # pyright: ignore[reportPrivateImportUsage]
from numba.core import cgutils
from numba.extending import intrinsic

ALIGNMENT = 64
"""Bytes to whose multiple an address must be aligned for stores past the caches: a cache line."""

_WIDTH = 32
"""Elements of a vector."""
_BYTE, _PAIR, _INT = ir.IntType(8), ir.IntType(16), ir.IntType(64)
_BYTES, _PAIRS = ir.VectorType(_BYTE, _WIDTH), ir.VectorType(_PAIR, _WIDTH)


def aligned(room: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """A view of bytes at an aligned address; `room`, uint8 [n], must have ALIGNMENT bytes more than it needs."""
    begin = -room.ctypes.data % ALIGNMENT
    return room[begin : begin + math.prod(shape)].reshape(shape)


@intrinsic
def pointer(typing: Any, address: Any = None) -> Any:  # Numba passes the first argument itself
    """A number as the address that it is; Numba has no other way to a variable number of arrays."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.inttoptr(arguments[0], context.get_value_type(types.voidptr))

    return types.voidptr(types.uint64), generate


@intrinsic
def split_past_cache(typing: Any, source: Any = None, low: Any = None, high: Any = None, size: Any = None) -> Any:
    """Low and high bytes of `size` pairs at `source` to two aligned addresses; `size` is a multiple of 32."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        source, low, high, size = arguments
        with cgutils.for_range(builder, builder.udiv(size, _INT(_WIDTH))) as loop:
            pairs = builder.load(_at(builder, source, loop.index, _PAIRS, 2 * _WIDTH), align=2)
            shift = ir.Constant(_PAIRS, [8] * _WIDTH)
            for target, part in ((low, pairs), (high, builder.lshr(pairs, shift))):
                bytes_ = builder.trunc(part, _BYTES)
                _store(builder, bytes_, _at(builder, target, loop.index, _BYTES, _WIDTH))
        return context.get_dummy_value()

    return types.void(types.uint64, types.uint64, types.uint64, types.uint64), generate


@intrinsic
def copy_past_cache(typing: Any, source: Any = None, target: Any = None, size: Any = None) -> Any:
    """Copy `size` bytes, a multiple of 32, to an aligned address."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        source, target, size = arguments
        with cgutils.for_range(builder, builder.udiv(size, _INT(_WIDTH))) as loop:
            bytes_ = builder.load(_at(builder, source, loop.index, _BYTES, _WIDTH), align=1)
            _store(builder, bytes_, _at(builder, target, loop.index, _BYTES, _WIDTH))
        return context.get_dummy_value()

    return types.void(types.uint64, types.uint64, types.uint64), generate


@intrinsic
def finish_stores(typing: Any) -> Any:
    """Nothing after this is seen by other threads before what was stored past the caches."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        builder.fence("seq_cst")
        return context.get_dummy_value()

    return types.void(), generate


def _at(builder: Any, address: Any, index: Any, kind: Any, size: int) -> Any:
    return builder.inttoptr(builder.add(address, builder.mul(index, _INT(size))), kind.as_pointer())


def _store(builder: Any, value: Any, place: Any) -> None:
    stored = builder.store(value, place, align=_WIDTH)
    stored.set_metadata("nontemporal", builder.module.add_metadata([ir.Constant(ir.IntType(32), 1)]))
