"""laws.json: its keys are a contract."""

import json
from dataclasses import replace

from laws.fitting.analysis import fit
from laws.fitting.isoflop import METHODS, QUANTITIES
from laws.report.document import document
from tests.laws.synthetic import BUDGETS, sweep


def test_the_document_keeps_the_contract() -> None:
    found = json.loads(json.dumps(document(fit(sweep(), draws=200)), allow_nan=False))
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
            *("offset", "exponent_ci", "exponent_ci_method", "points", "exponent_ci_runs"),
        }
        assert (law["game"], law["x"]) == ("nethack", "flops")
        assert law["form"] == "offset" or law["offset"] == 0
        if law["method"] == "parametric":
            # The surface has the interval; its frontier has no points of its own.
            assert law["exponent_ci_runs"][0] <= law["exponent"] <= law["exponent_ci_runs"][1]
            continue
        low, high = law["exponent_ci"]
        assert low <= law["exponent"] <= high
        assert law["exponent_ci_method"] == {"power": "ols-t", "offset": "delta-t"}[law["form"]]
        assert [x for x, _ in law["points"]] == list(BUDGETS)
    assert [(each["game"], each["y"], each["x"]) for each in found["correlation"]] == [("nethack", "return", "loss")]
    assert {"r", "exponent"} <= set(found["correlation"][0])


def test_the_document_has_every_diagnostic_in_full() -> None:
    rows = [replace(row, return_mean=None) if row.flops == BUDGETS[0] else row for row in sweep()]
    for item in document(fit(rows, draws=0))["diagnostics"]:
        assert set(item) == {"code", "severity", "game", "flops", "message"}
        assert item["severity"] in ("info", "warning")
