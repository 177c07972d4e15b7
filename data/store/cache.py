"""Things made on demand and kept in bounded memory."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
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

    def get_all(self, keys: Sequence[tuple[Any, ...]], make: Callable[..., T]) -> list[T]:
        """The things of these keys; those that aren't kept are made, `make(*key)`."""
        with self._lock:
            found = [self._kept.get(key) for key in keys]
            for key, thing in zip(keys, found, strict=True):
                if thing is not None:
                    self._kept.move_to_end(key)
        return [self.get(key, make, *key) if thing is None else thing for key, thing in zip(keys, found, strict=True)]

    def get(self, key: Hashable, make: Callable[..., T], *arguments: Any) -> T:
        """The thing of that key, made now if it isn't kept; what `make` raises is raised, and nothing kept."""
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
            future = self._making.get(key)
            others = future is not None
            if future is None:
                future = self._making[key] = Future[T]()
        if others:
            return future.result()
        try:
            made = make(*arguments)
        except BaseException as error:
            with self._lock:
                del self._making[key]
            future.set_exception(error)
            raise
        with self._lock:
            del self._making[key]
            self._kept[key] = made
            self._held += self._size(made)
            while self._held > self._limit and len(self._kept) > 1:
                self._held -= self._size(self._kept.popitem(last=False)[1])
        future.set_result(made)
        return made
