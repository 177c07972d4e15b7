"""Rows of numbers, as they are written to files."""

import dataclasses
import math
from typing import Any


def as_record(row: Any) -> dict[str, Any]:
    """A dataclass as JSON values: a number that is not finite becomes None, since JSON has none."""
    values = dataclasses.asdict(row)
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value for name, value in values.items()
    }
