"""What follows when all runs of a sweep have ended: tuned settings, more sizes, or the next budget."""

import dataclasses
from pathlib import Path

from data.common.lease import Held, held
from laws.design.config import AUTO, Size, Sweep, read_sweep, write_sweep
from laws.design.grid import Content, Grid, content_of, family_of, grid_of, too_long, too_short
from laws.design.refinement import decided, expected_next, profiles_of
from laws.design.runs import runs_in, runs_of, with_settings
from laws.design.tuning import law_of, rules_of, settings_of, told
from laws.fitting.analysis import Fit, fit
from laws.sweep.state import State
from laws.sweep.table import rows_of, tried_rows_of
from train.scaling.rule import rule_of


def advance(folder: Path) -> bool:
    """Decide what is trained next, if all runs have ended; whether there may be anything to do now.

    Settings are chosen as soon as all that try some have ended, also for sizes that were added later. The decision is a
    function of the rows, and recorded in `sweep.json`. One process makes it while others wait.

    Raises: UserError: what was tried with `--tune` doesn't determine an optimum.
    """
    try:
        with held(folder / "claims" / "next"):
            sweep, state = read_sweep(folder), State(folder)
            untuned = sweep.config.tune and set(sweep.agents) - set(sweep.settings)
            status = state.status([run for run in runs_in(folder) if run.tries or not untuned])
            if status.waiting or status.running:
                return True
            after = _after(sweep, folder)
            if read_sweep(folder) != sweep:
                # It was extended meanwhile: what follows is decided anew.
                return True
            if after is None:
                return False
            write_sweep(folder, after)
    except Held:
        pass
    return True


def ended(folder: Path) -> bool:
    """Whether all runs of a sweep have ended and nothing follows from their rows.

    Raises: UserError: what was tried with `--tune` doesn't determine an optimum.
    """
    sweep, status = read_sweep(folder), State(folder).status(runs_in(folder))
    return not (status.waiting or status.running) and _after(sweep, folder) is None


def _after(sweep: Sweep, folder: Path) -> Sweep | None:
    """The sweep with what is decided now; None if that is nothing."""
    if sweep.config.tune and set(sweep.agents) - set(sweep.settings):
        law = law_of(tried_rows_of(folder), sweep.config.tune, rule_of(next(iter(sweep.agents))))
        decisions = sweep.decisions if sweep.settings else (*sweep.decisions, told(law))
        return dataclasses.replace(sweep, settings=settings_of(sweep, law), rules=rules_of(law), decisions=decisions)
    return _refined(sweep, folder) if sweep.config.refine else None


def _refined(sweep: Sweep, folder: Path) -> Sweep | None:
    """The sweep with more sizes at a budget that needs them or, where none does, with the next budget."""
    content, fitted = content_of(sweep.shared, sweep.config.game), fit(rows_of(folder), choosing=False)
    planned, reason = sorted(sweep.sizes), ""
    for budget, profile in sorted(profiles_of(fitted, planned).items()):
        trained = sweep.sizes[budget]
        decision = decided(profile, trained, _others(sweep, content, budget), sweep.config.refine_factor)
        reason = f"{budget:.3g} FLOPs: {decision.reason}"
        if decision.sizes:
            more = tuple(sorted((*trained, *decision.sizes), key=lambda size: size.params))
            extended = dataclasses.replace(sweep, sizes={**sweep.sizes, budget: more})
            return _within_total(sweep, extended, folder, reason)
    before = _noted(sweep, reason)
    larger = [budget for budget in sorted(sweep.config.budgets) if budget > planned[-1]]
    if not larger:
        return before
    grid = _next_budget(sweep, content, larger[0], fitted)
    extended = dataclasses.replace(sweep, sizes={**sweep.sizes, larger[0]: grid.sizes.get(larger[0], ())})
    names = " ".join(size.agent.rpartition("/")[2] for size in extended.sizes[larger[0]])
    words = f"{larger[0]:.3g} FLOPs: {names or 'no cell: ' + '; '.join(grid.left_out)}"
    return _within_total(before or sweep, extended, folder, words)


def _others(sweep: Sweep, content: Content, budget: float) -> list[Size]:
    """Sizes of the family that can be added to a budget: a training that has passed it can't go back."""
    config, shared = sweep.config, sweep.shared
    family = family_of(dataclasses.replace(config, sizes=AUTO), shared, content)
    begun = {size for planned, sizes in sweep.sizes.items() if planned >= budget for size in sizes}
    return [
        size
        for size in family
        if size not in begun
        and not too_short(size, budget, config, shared)
        and not too_long(size, budget, config, content)
    ]


def _next_budget(sweep: Sweep, content: Content, budget: float, fitted: Fit) -> Grid:
    """The sizes of the next budget, by the rows of the smaller ones."""
    asked = dataclasses.replace(sweep.config, budgets=(*sweep.sizes, budget))
    return grid_of(asked, sweep.shared, content, sweep.sizes, expected_next(fitted, content.game))


def _within_total(before: Sweep, after: Sweep, folder: Path, reason: str) -> Sweep | None:
    """`after`, if its runs may be trained; else `before`, with a note. None if that is noted already."""
    total = after.config.total
    if total is not None:
        spent = sum(run.flops for run in runs_of(with_settings(after), folder))
        if spent > total:
            return _noted(before, f"{reason}: not trained, {spent:.3g} FLOPs in all would pass --total")
    return dataclasses.replace(after, decisions=(*before.decisions, reason))


def _noted(sweep: Sweep, reason: str) -> Sweep | None:
    """The sweep with a decision noted; None if it is."""
    if not reason or reason in sweep.decisions:
        return None
    return dataclasses.replace(sweep, decisions=(*sweep.decisions, reason))
