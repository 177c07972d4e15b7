"""Large arrays used again once nobody holds them: fresh memory costs a page fault for every 4 KiB."""

import math
import sys
import threading

import numpy as np

from data.codec.memory import ALIGNMENT, aligned


class BufferPool:
    """Hands out uint8 arrays, aligned, whose content is arbitrary. Any number of threads may take."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rooms: list[np.ndarray] = []

    def take(self, shape: tuple[int, ...]) -> np.ndarray:
        """An array that nobody else holds: a view of memory that is taken back once no view of it is left."""
        size = math.prod(shape) + ALIGNMENT
        with self._lock:
            for place in range(len(self._rooms)):
                # The list and the call's own argument hold it: more than two means that somebody reads it still.
                if sys.getrefcount(self._rooms[place]) == 2:
                    if len(self._rooms[place]) == size:
                        return aligned(self._rooms[place], shape)
                    del self._rooms[place]
                    break
            room = np.empty(size, np.uint8)
            self._rooms.append(room)
            return aligned(room, shape)
