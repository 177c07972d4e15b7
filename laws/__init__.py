"""Scaling laws from result rows: isoFLOP profiles, power laws, L(N, D), forecasts, figures and a report.

From a notebook::

    from laws import fit

    law = fit("runs.jsonl")  # or a DataFrame
    law.exponent, law.interval(), law.predict(1e20), law.plot()
    law.of("params", "isoflop").exponent
    laws.forecast(law, 1e20).combined

Neither JAX nor, before `plot`, Matplotlib is imported for this. `python -m laws` has the commands;
`laws.report.outputs.write_outputs` writes figures and the report.
"""

from laws.api import Scaling, fit
from laws.fitting.analysis import Fit, GameFit
from laws.predict.forecast import Forecast, forecast
from laws.rows.runs import Runs, TableOptions, read

__all__ = ["Fit", "Forecast", "GameFit", "Runs", "Scaling", "TableOptions", "fit", "forecast", "read"]
