"""Reads a table from its bytes."""

import tempfile
from pathlib import Path

from laws.rows.runs import Runs, TableOptions, read


def read_bytes(content: bytes, *options: str) -> Runs:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "table.csv"
        path.write_bytes(content)
        return read([path], options=TableOptions(columns=options))
