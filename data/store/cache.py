"""A thread-safe LRU cache of bounded size."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Cache(Generic[T]):
    """An LRU cache. Threads that request the same missing key wait for one of them to make the value.

    Args:
        limit: Maximum total size. The value made last is kept even if it is larger.
        size: The size of a value.
    """

    def __init__(self, limit: int, size: Callable[[T], int]) -> None:
        self._limit, self._size, self._total = limit, size, 0
        self._lock = threading.Lock()
        self._values: OrderedDict[Hashable, T] = OrderedDict()
        self._pending: dict[Hashable, Future[T]] = {}

    def allow(self, limit: int) -> None:
        """Raise the limit to at least this size."""
        self._limit = max(self._limit, limit)

    def get_all(self, keys: Sequence[tuple[Any, ...]], make: Callable[..., T]) -> list[T]:
        """The values of these keys. Missing ones are made by `make(*key)`, whose exceptions propagate."""
        with self._lock:
            found = [self._values.get(key) for key in keys]
            for key, value in zip(keys, found, strict=True):
                if value is not None:
                    self._values.move_to_end(key)
        return [self.get(key, make, *key) if value is None else value for key, value in zip(keys, found, strict=True)]

    def get(self, key: Hashable, make: Callable[..., T], *arguments: Any) -> T:
        """The value of the key, made by `make(*arguments)` if it is missing.

        Exceptions of `make` propagate, also to the threads that wait for it, and nothing is cached.
        """
        with self._lock:
            if key in self._values:
                self._values.move_to_end(key)
                return self._values[key]
            future = self._pending.get(key)
            made_by_another = future is not None
            if future is None:
                future = self._pending[key] = Future[T]()
        if made_by_another:
            return future.result()
        try:
            made = make(*arguments)
        except BaseException as error:
            with self._lock:
                del self._pending[key]
            future.set_exception(error)
            raise
        with self._lock:
            del self._pending[key]
            self._values[key] = made
            self._total += self._size(made)
            while self._total > self._limit and len(self._values) > 1:
                self._total -= self._size(self._values.popitem(last=False)[1])
        future.set_result(made)
        return made
