"""Numbers as tables write them: marks, magnitudes, units, and what can be none of its field."""

from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.common.cli import UserError
from laws.rows.numbers import is_number, number_of, scale_of
from tests.laws.rows.reading import read_bytes


@pytest.mark.parametrize(
    ("text", "number"),
    [
        *(("5", 5), ("5.5", 5.5), ("+5e3", 5e3), (" 7 ", 7), ("1,234,567", 1_234_567), ("1'234'567.5", 1_234_567.5)),
        *(("1\u00a0234\u202f567", 1_234_567), ("12_345", 12_345), ("125M", 125e6), ("1.5 B", 1.5e9), ("70b", 70e9)),
        *(("3.5k", 3500), ("7 million", 7e6), ("1.5e18 FLOPs", 1.5e18), ("1.5 EFLOPs", 1.5e18), ("7B params", 7e9)),
        *(("300B tokens", 300e9), ("1.5x10^18", 1.5e18), ("1.5 × 10^{18}", 1.5e18), ("10^18", 1e18), ("−3", -3)),  # noqa: RUF001
        *(("123456789012345678901", 123456789012345678901), (Decimal("2.5"), 2.5), (Decimal(10**30), 10**30)),
        *((np.float64(2.5), 2.5), (np.array(3), 3), ("-inf", -np.inf), ("", None), ("N/A", None), ("#DIV/0!", None)),
        *((pd.NA, None), (pd.NaT, None), ("—", None)),
    ],
)
def test_numbers_as_people_write_them(text: Any, number: float | None) -> None:
    assert number_of(text) == number
    assert type(number_of(text)) is type(number) or isinstance(number_of(text), float)
    assert is_number(text) == (number is not None)


@pytest.mark.parametrize(
    "text", ["1,5", "1.234.567", "five", "5 apples", "1e", "0x10", "1,23", "M", "--5", True, [1], "1 2"]
)
def test_what_is_no_number_is_not_taken_for_one(text: Any) -> None:
    with pytest.raises(ValueError, match="not a number"):
        number_of(text)


def test_decimal_commas_are_told_from_thousands() -> None:
    def losses(text: str) -> list[float | None]:
        return [row.loss for row in read_bytes(text.encode()).rows]

    assert losses("C;N;loss\n1e18;1.000;3,125\n1e18;2.000;2,5\n") == [3.125, 2.5]
    assert losses("C;N;loss\n1e18;1000;3,125\n1e18;2000;2,875\n") == [3.125, 2.875]
    assert losses("C;N;loss\n1e18;1,000;3.125\n1e18;2,000;2.875\n") == [3.125, 2.875]
    assert losses("C;N;loss\n1E+18;1.000;3,125\n1E+18;2.000;2,875\n") == [3.125, 2.875]
    assert losses("C;N;loss\n1E+18;1.000;0,982\n1E+18;2.000;0,875\n") == [0.982, 0.875]
    assert losses('C,N,loss\n1e18,"1,000",3.125\n1e18,"2,000",2.5\n') == [3.125, 2.5]
    # A list of devices in one column doesn't make points of the losses something else.
    assert losses("C;N;devices;loss\n1e18;5;0,1;3.25\n1e18;6;0;2.5\n") == [3.25, 2.5]


def test_rows_that_begin_as_comments_do_are_counted_and_named() -> None:
    found = read_bytes(
        b"# a, b\nrun,C,N,D,loss\n#0,1e18,1e6,1e9,3\nr1,1e18,2e6,1e9,2\n# a,b,c,d,e\n#3,2e18,1e6,1e9,2\n"
    )
    assert [row.run for row in found.rows] == ["r1"]
    [item] = [item for item in found.diagnostics if item.code == "incomplete_row"]
    assert item.message.startswith("2 rows were left out: they begin with #, as comments do (")
    assert "line 3, " in item.message
    assert "line 6)" in item.message


@pytest.mark.parametrize(
    "text",
    [b"C,N,D,loss\n1e18,0.7,1e9,3\n1e18,1.3,1e9,2\n", b"C,N,D,loss\n1e18,3.3,1e9,3\n", b"C,N,D,loss\n1e18,3,1.4,3\n"],
)
def test_sizes_without_their_unit_are_refused(text: bytes) -> None:
    with pytest.raises(UserError, match=r"must be a whole number of .*name it in the header"):
        read_bytes(text)


def test_compute_without_its_unit_is_refused_where_it_gives_samples() -> None:
    with pytest.raises(UserError, match=r"line 2: 18 FLOPs are not a sample of 1,000,000 parameters.* 'C \(PF-days\)'"):
        read_bytes(b"C,N,loss\n18,1000000,3\n")
    assert read_bytes(b"C (PF-days),N,loss\n18,1000000,3\n").rows[0].samples > 1e12


@given(st.floats(1e-9, 1e9))
def test_a_decimal_comma_is_a_decimal_point(number: float) -> None:
    assert number_of(repr(number).replace(".", ","), decimal_comma=True) == number_of(repr(number)) == number


@pytest.mark.parametrize(
    ("name", "scale"),
    [
        *(("N", 1), ("C (FLOPs)", 1), ("N (M)", 1e6), ("Tokens [B]", 1e9), ("params (in millions)", 1e6)),
        *(("C (1e18 FLOPs)", 1e18), ("compute (10^21)", 1e21), ("C (EFLOPs)", 1e18), ("C (PFLOP/s-days)", 8.64e19)),
        *(("params_M", 1e6), ("tokens_B", 1e9), ("model_m", 1), ("params in billions", 1e9), ("data (GB)", 1)),
    ],
)
def test_a_unit_in_a_name_is_counted(name: str, scale: float) -> None:
    assert scale_of(name) == pytest.approx(scale)


def test_sizes_in_millions_are_sizes_and_it_is_said() -> None:
    found = read_bytes(b"C (EFLOPs),Params_M,Tokens (B),loss\n6,50,20,7.1\n6,124M,8.06,6.4\n")
    assert [(row.flops, row.params, row.samples) for row in found.rows] == [
        (6e18, 50_000_000, 20_000_000_000),
        (6e18, 124_000_000, 8_060_000_000),
    ]
    assert "Params_M was multiplied by 1e+06, as its name says." in [item.message for item in found.diagnostics]
