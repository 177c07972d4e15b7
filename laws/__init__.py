"""Scaling laws from result rows: isoFLOP profiles, power laws, L(N, D), forecasts, figures and a report.

From a notebook::

    import laws

    rows = laws.read(["runs.jsonl"])
    found = laws.fit(rows)
    found.games[0].law("loss", "envelope").predict(1e20)
    laws.forecast(found, 1e20).combined

Neither JAX nor Matplotlib is imported for this. `python -m laws` has the commands; `laws.report.outputs.write_outputs`
writes figures and the report.
"""

from laws.fitting.analysis import Fit, GameFit, fit
from laws.predict.forecast import Forecast, forecast
from laws.rows.runs import Runs, read

__all__ = ["Fit", "Forecast", "GameFit", "Runs", "fit", "forecast", "read"]
