"""Rows of numbers, as they are written to files."""

import csv
import dataclasses
import io
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any


def as_record(row: Any) -> dict[str, Any]:
    """A dataclass as JSON values: a number that is not finite becomes None, since JSON has none."""
    values = dataclasses.asdict(row)
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value for name, value in values.items()
    }


def as_csv(names: Sequence[str], records: Iterable[Mapping[str, Any]], end: str = "\r\n") -> str:
    """Records as comma-separated values below their names, on lines with this end."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, names, lineterminator=end)
    writer.writeheader()
    writer.writerows(records)
    return text.getvalue()


def as_json(value: Any) -> str:
    """JSON as commands print it."""
    return json.dumps(value, indent=1, allow_nan=False)
