"""What is made once, kept, and dropped."""

import threading
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from data.codec.buffers import BufferPool
from data.store.cache import Cache


def test_the_oldest_is_dropped_and_what_is_asked_for_stays() -> None:
    made = []

    def make(key: int) -> int:
        made.append(key)
        return key

    cache = Cache[int](10, lambda _: 4)
    for key in (1, 2, 1, 3, 1, 2, 1):
        assert cache.get(key, make, key) == key
    assert made == [1, 2, 3, 2]


def test_something_larger_than_the_limit_is_made_every_time_and_no_more_is_held() -> None:
    cache, made = Cache[int](1, lambda _: 4), []
    for key in (1, 2, 1):
        assert cache.get(key, lambda it: made.append(it) or it, key) == key
    assert made == [1, 2, 1]


def test_a_thread_that_waits_gets_what_another_makes(monkeypatch: pytest.MonkeyPatch) -> None:
    cache, made, waiting = Cache[int](10, lambda _: 1), [], threading.Semaphore(0)

    class Announced(Future):
        def result(self, timeout: float | None = None) -> int:
            waiting.release()
            return super().result(timeout)

    def once_all_others_wait() -> int:
        made.append(1)
        for _ in range(3):
            assert waiting.acquire(timeout=600)
        return 7

    monkeypatch.setattr("data.store.cache.Future", Announced)
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda _: cache.get("key", once_all_others_wait), range(4))) == [7] * 4
    assert made == [1]


def test_what_could_not_be_made_is_tried_again() -> None:
    cache = Cache[int](10, lambda _: 1)

    def fail() -> int:
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        cache.get("key", fail)
    assert cache.get("key", lambda: 3) == 3


def test_memory_is_used_again_only_when_nobody_looks_at_it() -> None:
    recycled = BufferPool()
    first = recycled.take((4, 5))
    address, part = first.ctypes.data, first[2:, ::2]
    del first
    assert recycled.take((4, 5)).ctypes.data != address
    part[:] = 7
    del part
    assert recycled.take((4, 5)).ctypes.data == address
    assert recycled.take((2, 3)).shape == (2, 3)
