"""Row filters, such as `optimizer=adamw` or `flops>=1e17`."""

import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from data.common.cli import UserError
from laws.rows.columns import field_of, find_column, listed
from laws.rows.numbers import is_nan, number_of

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
        found = re.fullmatch(r"\s*([^<>=!]*?[^<>=!\s])\s*(>=|<=|!=|==|=|<|>)\s*([^<>=!\s].*?|)\s*", text)
        if not found:
            raise UserError(f"--filter {text}: write NAME=VALUE, or with !=, <, <=, > or >=")
        return Filter(*found.groups())

    def passes(self, value: Any, *, decimal_comma: bool = False, scale: float = 1.0) -> bool:
        """Whether `value`, times `scale`, meets the condition: as numbers where both are, else as text.

        Text has no order, and a missing value meets none but `!=` and one that asks for it (`NAME=`).
        """
        one, other = _number(value, decimal_comma), _number(self.value, False)
        if one is not None and other is not None:
            return _OPERATORS[self.sign](one if scale == 1 else one * scale, other)
        if isinstance(value, bool):
            equal = str(value).casefold() == self.value.casefold()
        else:
            equal = str("" if value is None else value).strip() == self.value
        return equal if self.sign in ("=", "==") else not equal if self.sign == "!=" else False


def column_of(option: str, name: str, names: Sequence[str], fields: Mapping[str, str]) -> str:
    """The column that `name` in `option` is about: one of the table's `names`, or that of a field.

    Raises:
        UserError: there is no such column.
    """
    found = name if name in names else fields.get(field_of(name) or "") or find_column(name, names)
    if found is None:
        raise UserError(f"{option} {name}: no such column; the table has {listed(names)}")
    return found


def _number(value: Any, decimal_comma: bool) -> float | None:
    try:
        number = number_of(value, decimal_comma=decimal_comma)
    except ValueError:
        return None
    return None if number is None or is_nan(number) else number
