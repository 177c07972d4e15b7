"""Large arrays used again once nobody holds them: fresh memory costs a page fault for every 4 KiB."""

import sys
import threading

import numpy as np


class Recycled:
    """Hands out uint8 arrays whose content is arbitrary. Any number of threads may take."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._owned: list[np.ndarray] = []

    def take(self, shape: tuple[int, ...]) -> np.ndarray:
        """An array that nobody else holds: a view of memory that is taken back once no view of it is left."""
        with self._lock:
            for place in range(len(self._owned)):
                # The list and the call's own argument hold it: more than two means that somebody reads it still.
                if sys.getrefcount(self._owned[place]) == 2:
                    if self._owned[place].shape == shape:
                        return self._owned[place].view()
                    del self._owned[place]
                    break
            owned = np.empty(shape, np.uint8)
            self._owned.append(owned)
            return owned.view()
