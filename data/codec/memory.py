"""Numba intrinsics for pointers and for non-temporal (streaming) stores.

A batch is written once and read later, by another thread. Ordinary stores first load the cache lines that they
overwrite and evict others; non-temporal stores do neither. They make decoding screens 10 % faster on one thread, and
two threads compete less for memory bandwidth.
"""

import math
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types  # pyright: ignore[reportPrivateImportUsage]
from numba.core import cgutils
from numba.extending import intrinsic

ALIGNMENT = 64
"""Alignment in bytes that non-temporal stores need: a cache line."""

_WIDTH = 32
"""Elements per vector."""
_BYTE, _PAIR, _INT = ir.IntType(8), ir.IntType(16), ir.IntType(64)
_BYTES, _PAIRS = ir.VectorType(_BYTE, _WIDTH), ir.VectorType(_PAIR, _WIDTH)


def aligned(buffer: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """An aligned view of `buffer`, uint8 [n], which must be at least ALIGNMENT bytes larger than the view."""
    begin = -buffer.ctypes.data % ALIGNMENT
    return buffer[begin : begin + math.prod(shape)].reshape(shape)


@intrinsic
def pointer(typing: Any, address: Any = None) -> Any:  # Numba passes the first argument itself
    """Cast an integer address to a pointer. Lets a kernel read a variable number of arrays."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.inttoptr(arguments[0], context.get_value_type(types.voidptr))

    return types.voidptr(types.uint64), generate


@intrinsic
def split_streaming(typing: Any, source: Any = None, low: Any = None, high: Any = None, size: Any = None) -> Any:
    """Store the low and the high bytes of `size` uint16 at `source` to two aligned addresses, with streaming stores.

    `size` must be a multiple of 32.
    """

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
def copy_streaming(typing: Any, source: Any = None, target: Any = None, size: Any = None) -> Any:
    """Copy `size` bytes, a multiple of 32, to an aligned address with streaming stores."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        source, target, size = arguments
        with cgutils.for_range(builder, builder.udiv(size, _INT(_WIDTH))) as loop:
            bytes_ = builder.load(_at(builder, source, loop.index, _BYTES, _WIDTH), align=1)
            _store(builder, bytes_, _at(builder, target, loop.index, _BYTES, _WIDTH))
        return context.get_dummy_value()

    return types.void(types.uint64, types.uint64, types.uint64), generate


@intrinsic
def finish_stores(typing: Any) -> Any:
    """Memory fence: makes preceding streaming stores visible to other threads before anything that follows."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        builder.fence("seq_cst")
        return context.get_dummy_value()

    return types.void(), generate


def _at(builder: Any, address: Any, index: Any, kind: Any, size: int) -> Any:
    return builder.inttoptr(builder.add(address, builder.mul(index, _INT(size))), kind.as_pointer())


def _store(builder: Any, value: Any, place: Any) -> None:
    stored = builder.store(value, place, align=_WIDTH)
    stored.set_metadata("nontemporal", builder.module.add_metadata([ir.Constant(ir.IntType(32), 1)]))
