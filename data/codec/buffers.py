"""A pool of large arrays whose memory is reused: freshly mapped memory costs a page fault for every 4 KiB."""

import math
import sys
import threading

import numpy as np

from data.codec.memory import ALIGNMENT, aligned


class BufferPool:
    """Allocates aligned, uninitialised uint8 arrays and reuses their memory once they are garbage collected.

    Thread-safe.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._buffers: list[np.ndarray] = []

    def take(self, shape: tuple[int, ...]) -> np.ndarray:
        """An array whose memory no other live array shares. Its memory is reused once no view of it is left."""
        size = math.prod(shape) + ALIGNMENT
        with self._lock:
            for index in range(len(self._buffers)):
                # Two references: the list's and this call's argument. More than that: a view is alive.
                if sys.getrefcount(self._buffers[index]) == 2:
                    if len(self._buffers[index]) == size:
                        return aligned(self._buffers[index], shape)
                    del self._buffers[index]
                    break
            buffer = np.empty(size, np.uint8)
            self._buffers.append(buffer)
            return aligned(buffer, shape)
