"""Forecasts, plans and tuned settings as the commands print them."""

from collections.abc import Iterator
from typing import Any

from laws.predict.forecast import Forecast, ForecastEntry
from laws.predict.hyperparameters import LETTERS, Optimum, TunedLaw
from laws.predict.plan import Plan


def forecast_record(loss: Forecast, returns: Forecast, sized: ForecastEntry | None = None) -> dict[str, Any]:
    """As `python -m laws forecast --json` prints it."""
    record = _record(loss)
    if sized is not None:
        record["forms"].append(_entry(sized))
    if returns.entries:
        record["return"] = _record(returns)
    return record


def _record(forecast: Forecast) -> dict[str, Any]:
    found = forecast.combined
    return {
        "forms": [_entry(entry) for entry in forecast.entries],
        "combined": None if found is None else {"value": found[0], "interval": found[1]},
        "horizon": forecast.horizon,
        "cuts": forecast.cuts,
    }


def _entry(entry: ForecastEntry) -> dict[str, Any]:
    return {name: value for name, value in vars(entry).items() if name != "misses"}


def forecast_lines(loss: Forecast, returns: Forecast, sized: ForecastEntry | None = None) -> Iterator[str]:
    """As `python -m laws forecast` prints it."""
    for forecast, name in ((loss, "dev loss, nats per step"), (returns, "greatest mean return")):
        if not forecast.entries:
            continue
        yield f"{name} at {forecast.flops:.3g} FLOPs"
        if forecast.horizon is not None:
            yield f"  of {forecast.cuts} past predictions of {forecast.horizon:.3g} times the compute fitted:"
            yield "  error, root mean square; held, the share of 95 % intervals"
        yield f"    {'form':17} {'from':>7} {'value':>9}  {'95 % interval':^20} {'error':>6} {'held':>4} {'AICc':>6}"
        for entry in (*forecast.entries, *([sized] if sized and forecast is loss else [])):
            score = "" if entry.score is None else f"{entry.score:.1%}"
            coverage = "" if entry.coverage is None else f"{entry.coverage:.0%}"
            aicc = "" if entry.aicc is None else f"{entry.aicc:.1f}"
            ends = f"{entry.interval[0]:.3g} to {entry.interval[1]:.3g}"
            mark = "*" if entry.preferred else " "
            yield (
                f"  {mark} {entry.form:17} {entry.window[0]:7.3g} {entry.value:9.4g}  {ends:^20} {score:>6}"
                f" {coverage:>4} {aicc:>6}"
            )
        values = [entry.value for entry in forecast.entries]
        yield f"  by form and window it ranges from {min(values):.4g} to {max(values):.4g}"
        if forecast.combined:
            value, (low, high) = forecast.combined
            yield f"  * combined by past errors: {value:.4g} (95 % {low:.4g} to {high:.4g})"
        else:
            yield "  no combined forecast: too few budgets for three past predictions as far ahead"


def plan_lines(plan: Plan) -> Iterator[str]:
    """As `python -m laws plan` prints it."""
    yield f"{plan.flops:.3g} FLOPs"
    yield f"  {'law':12} {'parameters N':>12}  {'95 % band':^22} {'samples D':>10}"
    for split in plan.splits:
        ends = "" if split.params_ci is None else f"{split.params_ci[0]:.3g} to {split.params_ci[1]:.3g}"
        yield f"  {split.method:12} {split.params:12.4g}  {ends:^22} {split.samples:10.4g}"
    if plan.nearest is not None:
        batch = "" if plan.nearest.batch is None else f", {plan.nearest.batch:,} samples per optimiser step"
        yield f"  nearest trained size: {plan.nearest.size} ({plan.nearest.params:,} parameters){batch}"
        yield f"  samples of that size for the budget: {plan.samples:.4g}"
    if plan.seconds is None:
        yield "  time: give --flops-per-second"
    else:
        yield f"  time: {plan.seconds / 3600:.3g} hours"
    for each in plan.next_runs:
        sizes = f"{each.sizes[0]:.3g} to {each.sizes[1]:.3g} parameters"
        gain = f"narrows N* by {each.gain:.0%}" if each.gain else "gives a first law"
        yield f"  worth running: {each.flops:.3g} FLOPs, {sizes}: {gain} ({each.why})"


def tuned_lines(law: TunedLaw, at: tuple[float, float] | None = None) -> Iterator[str]:
    """As `python -m laws rate` prints it; `at` is (N, D) of a prediction."""
    yield f"{'N':>12} {'D':>14} {'tried':>6} {'near':>5} {'least loss':>11}  least at, and by the law"
    for cell in law.sweeps:
        found = [
            f"{name} {getattr(cell.best, name):.3g}, {_optimum(law.optimum(name, cell.params, cell.samples))}"
            for name in law.settings
        ]
        loss, near = cell.best.loss or 0.0, len(cell.rows)
        yield f"{cell.params:12,} {cell.samples:14,} {cell.tried:6} {near:5} {loss:11.4g}  {'; '.join(found)}"
    for name in law.settings:
        exponents = {LETTERS[scale]: law.exponent(name, scale) for scale in law.scales}
        powers = "".join(f" {letter}^{each.value:+.3f}" for letter, each in exponents.items())
        ends = ", ".join(f"of {letter} {_ends(each, '+.3f')}" for letter, each in exponents.items() if each.interval)
        why = f"95 %: {ends}" if ends else "no interval: too few runs" if exponents else "one size"
        yield f"{name} = {law.coefficient(name):.4g}{powers}  ({why})"
    for scale, letter in LETTERS.items():
        if scale not in law.scales:
            yield f"no exponent of {letter}: not asked for, or not varied by itself"
    if at is not None:
        place = ", ".join(f"{LETTERS[scale]} {dict(zip(LETTERS, at, strict=True))[scale]:.4g}" for scale in law.scales)
        for name in law.settings:
            yield f"{name} at {place}: {_optimum(law.optimum(name, *at))}"


def _optimum(found: Optimum) -> str:
    return f"{found.value:.3g}" + (f" ({_ends(found, '.3g')})" if found.interval else "")


def _ends(found: Optimum, form: str) -> str:
    return "" if found.interval is None else f"{found.interval[0]:{form}} to {found.interval[1]:{form}}"


def tuned_record(law: TunedLaw, at: tuple[float, float] | None = None) -> dict[str, Any]:
    """As `python -m laws rate --json` prints it."""
    return {
        "laws": {
            name: {
                "coefficient": law.coefficient(name),
                "exponents": {scale: vars(law.exponent(name, scale)) for scale in law.scales},
                **({} if at is None else {"predicted": vars(law.optimum(name, *at))}),
            }
            for name in law.settings
        },
        "sweeps": [
            {
                "params": cell.params,
                "samples": cell.samples,
                "tried": cell.tried,
                "near": len(cell.rows),
                "loss": cell.best.loss,
                "best": {name: getattr(cell.best, name) for name in law.settings},
                "optimum": {name: vars(law.optimum(name, cell.params, cell.samples)) for name in law.settings},
            }
            for cell in law.sweeps
        ],
    }
