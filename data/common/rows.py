"""Rows of numbers, as they are written to files."""

import dataclasses
import json
import math
from typing import Any


def as_record(row: Any) -> dict[str, Any]:
    """A dataclass as JSON values: a number that is not finite becomes None, since JSON has none."""
    values = dataclasses.asdict(row)
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value for name, value in values.items()
    }


def as_json(value: Any) -> str:
    """JSON as commands print it."""
    return json.dumps(value, indent=1, allow_nan=False)
