"""laws.json: its keys are a contract."""

import json
from dataclasses import replace

import numpy as np

from laws.fitting.analysis import fit
from laws.fitting.isoflop import METHODS, QUANTITIES
from laws.report.document import document
from laws.study.coverage import DESIGNS
from tests.laws.synthetic import BUDGETS, SIZES, sweep


def test_the_document_keeps_the_contract() -> None:
    rows = [replace(row, game="nethack") for row in DESIGNS["7x6"].rows(np.random.default_rng(0))]
    found = json.loads(json.dumps(document(fit(rows, draws=200)), allow_nan=False))
    assert set(found) == {"laws", "profiles", "parametric", "correlation", "choices", "diagnostics"}
    [parametric] = found["parametric"]
    assert {"game", "E", "A", "B", "alpha", "beta", "objective", "intervals", "profile_E"} <= set(parametric)
    assert [(law["y"], law["method"]) for law in found["laws"] if law["form"] == "power"] == [
        *((y, method) for method in METHODS for y in QUANTITIES),
        ("params", "parametric"),
        ("samples", "parametric"),
    ]
    assert [(law["y"], law["method"]) for law in found["laws"] if law["form"] == "offset"] == [
        ("loss", method) for method in (*METHODS, "parametric")
    ]
    for law in found["laws"]:
        assert set(law) == {
            *("game", "y", "x", "method", "form", "coefficient", "exponent"),
            *("offset", "exponent_ci", "exponent_ci_method", "points", "offset_ci", "sensitivity", "discrete"),
        }
        assert (law["game"], law["x"]) == ("nethack", "flops")
        assert law["form"] == "offset" or law["offset"] == 0
        low, high = law["exponent_ci"]
        assert low <= law["exponent"] <= high
        assert law["exponent_ci_method"] == "bootstrap"
        assert law["discrete"] == (law["method"] == "envelope" and law["y"] in ("params", "samples"))
        if law["method"] == "parametric":
            continue  # the surface has the interval; its frontier has no points of its own
        assert [x for x, _ in law["points"]] == sorted({row.flops for row in rows})
    assert [(each["game"], each["y"], each["x"]) for each in found["correlation"]] == [("nethack", "return", "loss")]
    assert {"r", "exponent"} <= set(found["correlation"][0])


def test_without_noise_to_tell_there_is_no_interval_and_it_says_so() -> None:
    found = document(fit([row for row in sweep() if row.params in SIZES[:4]]))
    assert {(law["exponent_ci"], law["exponent_ci_method"]) for law in found["laws"]} == {(None, "none")}
    assert "no_interval" in {item["code"] for item in found["diagnostics"]}


def test_the_document_has_every_diagnostic_in_full() -> None:
    rows = [replace(row, return_mean=None) if row.flops == BUDGETS[0] else row for row in sweep()]
    for item in document(fit(rows, draws=0))["diagnostics"]:
        assert set(item) == {"code", "severity", "game", "flops", "message"}
        assert item["severity"] in ("info", "warning")
