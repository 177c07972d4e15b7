"""Functions compiled by Numba."""

import multiprocessing
import sys
from collections.abc import Callable
from typing import Any, TypeVar, cast

from numba import njit

F = TypeVar("F", bound=Callable[..., Any])


def kernel(**options: Any) -> Callable[[F], F]:
    """A decorator that compiles a function by Numba, and caches the result on disk.

    Where Numba finds no folder that it may write (an install of another user, in a container or on a cluster, without a
    home), functions are compiled in each process; the first of them says so on stderr.

    Args:
        **options: Of `numba.njit`, for example `nogil=True`.
    """

    def compiled(function: F) -> F:
        try:
            return cast(F, njit(cache=True, **options)(function))
        except RuntimeError as error:
            if "no locator" not in str(error):
                raise
        _say_once()
        return cast(F, njit(**options)(function))

    return compiled


def _say_once() -> None:
    if not _Said.so and multiprocessing.current_process().name == "MainProcess":
        print(
            "warning: Numba can write its cache neither beside this package nor in the home folder: functions are"
            " compiled in each process, for some ten seconds; set NUMBA_CACHE_DIR to a folder that is writable",
            file=sys.stderr,
        )
    _Said.so = True


class _Said:
    so = False
