"""Conditions on the rows of a table: by column or field, as numbers or as text."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.common.cli import UserError
from laws.rows.filters import Filter, column_of
from laws.rows.runs import TableOptions, read

TABLE = """run,C,Params (M),val loss,optimizer,learning rate,converged
a,1e17,5,3.5,adamw,1e-3,True
b,1e17,6,3.25,sgd,0.001,False
c,1e18,5,,adamw,,True
d,1e18,60,2.5,AdamW,3e-4,
"""


def kept(path: Path, *conditions: str, table: str = TABLE) -> str:
    path.write_text(table)
    return "".join(sorted(row.run for row in read([path], options=TableOptions(filter=conditions)).rows))


@pytest.mark.parametrize(
    ("conditions", "runs"),
    [
        *(([], "abcd"), (["optimizer=adamw"], "ac"), (["optimizer == adamw"], "ac"), (["optimizer!=adamw"], "bd")),
        *(
            (["C>=1e18"], "cd"),
            (["flops<1E18"], "ab"),
            (["compute=100000000000000000"], "ab"),
            (["FLOPs=0.1e18"], "ab"),
        ),
        *((["Params (M)>5.5"], "bd"), (["params>5.5e6"], "bd"), (["params>5.5M"], "bd"), (["N<=6M"], "abc")),
        *(
            (["val loss<3.5"], "bd"),
            (["loss>0"], "abd"),
            (["loss="], "c"),
            (["loss!="], "abd"),
            (["val_loss!=3.5"], "bcd"),
        ),
        *((["learning rate=0.001"], "ab"), (["lr=1e-3", "optimizer=sgd"], "b"), (["converged=true"], "ac")),
    ],
)
def test_rows_that_meet_all_conditions_are_kept(conditions: list[str], runs: str, tmp_path: Path) -> None:
    table = TABLE.replace("True", "true")
    assert kept(tmp_path / "a.csv", *conditions, table=table) == runs


def test_a_condition_reads_numbers_as_the_table_writes_them(tmp_path: Path) -> None:
    table = TABLE.replace(",", ";").replace(".", ",")
    assert kept(tmp_path / "a.csv", "loss>=3.25", table=table) == "ab"
    assert kept(tmp_path / "a.csv", "lr=0.001", table=table) == "ab"


def test_a_damaged_row_that_is_filtered_out_does_no_harm(tmp_path: Path) -> None:
    assert kept(tmp_path / "a.csv", "run!=total", table=TABLE + "total,lots,,,,,\n") == "abcd"


def test_no_row_that_meets_a_condition_is_an_error_with_what_there_is(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no row meets optimizer=adam \(optimizer is 'adamw', 'sgd' or 'AdamW'\)"):
        kept(tmp_path / "a.csv", "optimizer=adam")
    with pytest.raises(UserError, match="--filter speed: no such column; the table has run, C, Params"):
        kept(tmp_path / "a.csv", "speed>1")
    for text in ("optimizer", "", "=5", "C=>5", "a<>b", "a = = b"):
        with pytest.raises(UserError, match="write NAME=VALUE, or with !=, <"):
            kept(tmp_path / "a.csv", text)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("a=b", ("a", "=", "b")),
        (" eval loss >= 2 ", ("eval loss", ">=", "2")),
        ("a!=", ("a", "!=", "")),
        ("tag=x=y", ("tag", "=", "x=y")),
        ("C (FLOPs)<1e18", ("C (FLOPs)", "<", "1e18")),
    ],
)
def test_a_condition_is_a_name_a_sign_and_a_value(text: str, parts: tuple[str, str, str]) -> None:
    assert Filter.parse(text) == Filter(*parts)


def test_the_name_of_a_column_comes_before_that_of_a_field() -> None:
    names, fields = ("loss", "eval loss", "lr"), {"loss": "eval loss"}
    assert column_of("--filter", "loss", names, fields) == "loss"
    assert column_of("--filter", "val_loss", names, fields) == "eval loss"
    assert column_of("--filter", "Eval Loss", names, {}) == "eval loss"


@given(st.floats(allow_nan=False), st.floats(allow_nan=False))
def test_exactly_one_of_less_equal_and_greater_holds(one: float, other: float) -> None:
    held = [Filter("x", sign, repr(other)).passes(one) for sign in ("<", "=", ">")]
    assert sum(held) == 1
    for sign, opposite in (("<", ">="), (">", "<="), ("=", "!=")):
        condition, contrary = Filter("x", sign, repr(other)), Filter("x", opposite, repr(other))
        assert condition.passes(one) is not contrary.passes(one)
        assert condition.passes(repr(one)) is condition.passes(one)


@given(st.one_of(st.none(), st.booleans(), st.text(), st.floats(), st.integers(), st.lists(st.integers())), st.text())
def test_any_value_meets_a_condition_or_its_contrary(value: Any, other: str) -> None:
    assert Filter("x", "=", other).passes(value) is not Filter("x", "!=", other).passes(value)
    assert not (Filter("x", "<", other).passes(value) and Filter("x", ">", other).passes(value))
