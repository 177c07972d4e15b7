"""Commands on a terminal, where output may differ."""

import os
import pty
import subprocess
from collections.abc import Sequence


def on_terminal(command: Sequence[str], **environment: str) -> tuple[int, str]:
    """Exit code of a command, and what it writes on a terminal."""
    parent, child = pty.openpty()
    variables = {**os.environ, "TERM": "xterm-256color", **environment}
    process = subprocess.Popen(command, stdin=child, stdout=child, stderr=child, env=variables)
    os.close(child)
    seen = b""
    try:
        while some := os.read(parent, 65536):
            seen += some
    except OSError:
        pass  # How Linux tells that nobody has the terminal open any more.
    os.close(parent)
    return process.wait(), seen.decode().replace("\r\n", "\n")
