"""Row filters, such as `optimizer=adamw` or `flops>=1e17`."""

import math
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from data.common.cli import UserError
from laws.rows.columns import normalised
from laws.rows.numbers import number_of

_OPERATORS: Mapping[str, Callable[[Any, Any], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    "!=": operator.ne,
    "==": operator.eq,
    ">": operator.gt,
    "<": operator.lt,
    "=": operator.eq,
}


@dataclass(frozen=True)
class Filter:
    """A condition on one column."""

    name: str
    sign: str
    value: str

    @staticmethod
    def parse(text: str) -> "Filter":
        """From NAME SIGN VALUE, where SIGN is =, !=, <, <=, > or >=.

        Raises:
            UserError: it is something else.
        """
        found = re.fullmatch(r"\s*(.+?)\s*(>=|<=|!=|==|=|<|>)\s*(.*?)\s*", text)
        if not found:
            raise UserError(f"--filter {text}: write NAME=VALUE, or with !=, <, <=, > or >=")
        return Filter(*found.groups())

    def column(self, names: Sequence[str], fields: Mapping[str, str]) -> str:
        """The column that it is about: one of the table's `names`, or that of a field.

        Raises:
            UserError: there is no such column.
        """
        if self.name in names:
            return self.name
        by_name = {normalised(name): name for name in names}
        found = by_name.get(normalised(self.name)) or fields.get(normalised(self.name))
        if found is None:
            raise UserError(f"--filter {self.name}: no such column; the table has {', '.join(names)}")
        return found

    def passes(self, value: Any) -> bool:
        """Whether `value` meets the condition: as numbers where both are, else as text, which has no order.

        A missing value meets none but `!=`.
        """
        one, other = _number(value), _number(self.value)
        if one is not None and other is not None:
            return _OPERATORS[self.sign](one, other)
        equal = str("" if value is None else value).strip() == self.value
        return equal if self.sign in ("=", "==") else not equal if self.sign == "!=" else False


def _number(value: Any) -> float | None:
    try:
        number = number_of(value)
    except ValueError:
        return None
    return None if number is None or math.isnan(number) else number
