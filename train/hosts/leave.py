"""How a process ends: together with the others, or at once."""

import contextlib
import os
import sys
import traceback
from collections.abc import Iterator

from data.common.cli import Signalled, UserError


class AgreedError(UserError):
    """An error that all processes raise."""


class Stop(Signalled):
    """All processes stop after the same step, because one of them received a signal."""


@contextlib.contextmanager
def leaving() -> Iterator[None]:
    """A context manager around the whole command: a process that fails alone exits at once, with its exit code.

    JAX would have it wait for the others, which wait for it. They end within `Hosts.heartbeat_timeout`: JAX aborts them
    (SIGABRT), or their collectives fail.
    """
    try:
        yield
    except SystemExit as end:
        if end.code and _joined() and not isinstance(end.__context__, (AgreedError, Stop)):
            _exit(end.code if isinstance(end.code, int) else 1)
        raise
    except BaseException:
        if _joined():
            traceback.print_exc()
            _exit(1)
        raise


def _joined() -> bool:
    if "jax" not in sys.modules:
        return False
    import jax

    return jax.distributed.is_initialized()


def _exit(code: int) -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
