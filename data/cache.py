"""Things made on demand and kept in bounded memory."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Cache(Generic[T]):
    """Keeps what was made last, up to `limit` of what `size` counts; threads that want the same thing wait for it."""

    def __init__(self, limit: int, size: Callable[[T], int]) -> None:
        self._limit, self._size, self._held = limit, size, 0
        self._lock = threading.Lock()
        self._kept: OrderedDict[Hashable, T] = OrderedDict()
        self._making: dict[Hashable, Future[T]] = {}

    def allow(self, limit: int) -> None:
        """Raise the limit, if it is below."""
        self._limit = max(self._limit, limit)

    def get(self, key: Hashable, make: Callable[..., T], *arguments: Any) -> T:
        """The thing of that key, made now if it isn't kept; what `make` raises is raised, and nothing kept."""
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
            others = self._making.get(key)
            if others is None:
                mine = self._making[key] = Future[T]()
        if others is not None:
            return others.result()
        try:
            made = make(*arguments)
        except BaseException as error:
            with self._lock:
                del self._making[key]
            mine.set_exception(error)
            raise
        with self._lock:
            del self._making[key]
            self._kept[key] = made
            self._held += self._size(made)
            while self._held > self._limit and len(self._kept) > 1:
                self._held -= self._size(self._kept.popitem(last=False)[1])
        mine.set_result(made)
        return made
