"""`python -m agents`: exact counts in a table that fits, or for a program."""

import csv
import io
import json

import pytest

from agents.__main__ import show
from agents.ladder import ladder
from data.common.cli import UserError


def printed(capsys: pytest.CaptureFixture[str], *arguments: str, **options: object) -> str:
    show(*arguments, **options)  # pyright: ignore[reportArgumentType]
    return capsys.readouterr().out


def test_the_table_fits_and_its_counts_are_exact(capsys: pytest.CaptureFixture[str]) -> None:
    first, *lines = printed(capsys).splitlines()
    assert max(map(len, lines)) <= 80
    assert first.split() == ["agent", "N", "all", "parameters", "FLOPs/sample"]
    agents = ladder(18)
    assert len(lines) == len(agents)
    for line in lines:
        name, *numbers = line.split()
        cost = agents[name].cost(32)
        counts = [int(number.replace(",", "")) for number in numbers]
        assert counts == [cost.counted_params, cost.params, cost.train_flops("exact")]


def test_json_and_csv_have_the_same_counts_and_json_the_groups(capsys: pytest.CaptureFixture[str]) -> None:
    records = json.loads(printed(capsys, json=True))
    rows = list(csv.DictReader(io.StringIO(printed(capsys, csv=True))))
    assert len(records) == len(rows) == len(ladder(18))
    for record, row in zip(records, rows, strict=True):
        groups = record.pop("groups")
        assert {name: str(value) for name, value in record.items()} == row
        assert sum(group["params"] for group in groups.values()) == record["params_all"]
        assert sum(group["flops"] for group in groups.values()) == record["flops_exact"]


def test_one_agent_has_a_line_for_each_group(capsys: pytest.CaptureFixture[str]) -> None:
    lines = printed(capsys, agent="nethack/lstm/64").splitlines()
    counts = {line.split()[0]: line.split()[1] for line in lines[1:-2]}
    assert sum(int(count.replace(",", "")) for name, count in counts.items() if name != "all") == 98_651
    assert counts["all"] == "98,651"
    assert lines[-1].startswith("fields: encoders.width=32")


def test_one_form_at_a_time() -> None:
    with pytest.raises(UserError, match="one of --wide, --json and --csv"):
        show(json=True, csv=True)
