"""A run as a sequence of segments: stretches of the trunk, and the branches that decay from it to each budget.

With `wsd` (warm-up, stable, decay) the learning rate of the trunk stays constant after the warm-up. The branch of a
budget starts from the trunk's state and decays; then the trunk goes on, undecayed, from where the branch started:
[trunk 0 to s1], [branch s1 to n1], [trunk s1 to s2], [branch s2 to n2], … A *step* counts batches of the data and
updates of the parameters; a *position* counts all steps that the run has made, those of earlier branches included.

Hu et al. 2024, arXiv 2404.06395 (MiniCPM); Hägele et al. 2024, arXiv 2405.18392.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from data.common.cli import UserError


@dataclass(frozen=True)
class Segment:
    """Steps [start, stop) of the trunk, or of the branch of a budget."""

    start: int
    stop: int
    offset: int
    """Position of its step 0: a step s of this segment is at position s + offset."""
    branch: float | None = None
    """The FLOP budget that this branch decays to; None on the trunk."""
    spends: tuple[int, ...] = ()
    """The steps after which a budget is spent."""

    @property
    def end(self) -> int:
        """Position after its last step."""
        return self.stop + self.offset

    @property
    def name(self) -> str | None:
        """The branch's name, that of its budget; None on the trunk."""
        return None if self.branch is None else budget_name(self.branch)

    @property
    def decay(self) -> tuple[int, int]:
        """The steps [start, stop) over which the learning rate decays; (0, 0) on the trunk."""
        return (0, 0) if self.branch is None else (self.start, self.stop)


@dataclass(frozen=True)
class Branch:
    """Where the branch of a budget starts, and where it ends, which is where the budget is spent."""

    budget: float
    start: int
    stop: int


def trunk_alone(stops: Sequence[int]) -> tuple[Segment, ...]:
    """The segment of a run without branches, which passes through its budgets at the steps `stops`."""
    return (Segment(0, stops[-1], 0, spends=tuple(stops)),)


def with_branches(branches: Sequence[Branch]) -> tuple[Segment, ...]:
    """The segments of a run with the branches of these budgets, smallest first.

    Larger budgets only append segments: positions within those of the smaller budgets stay.
    """
    segments: list[Segment] = []
    trunk, position = 0, 0
    for branch in branches:
        if branch.start > trunk:
            segments.append(Segment(trunk, branch.start, position - trunk))
            trunk, position = branch.start, segments[-1].end
        segments.append(Segment(branch.start, branch.stop, position - trunk, branch.budget, (branch.stop,)))
        position = segments[-1].end
    return tuple(segments)


def remaining(segments: Sequence[Segment], position: int) -> list[tuple[Segment, int]]:
    """The segments that are not over at `position`, each with the first of its steps that is left."""
    return [(each, max(each.start, position - each.offset)) for each in segments if each.end > position]


def branch_open(segments: Sequence[Segment], position: int) -> bool:
    """Whether `position` lies inside a branch, of which some steps are made and some are left."""
    return any(each.branch is not None and each.start + each.offset < position < each.end for each in segments)


def extended(before: Sequence[Branch], position: int, asked: Sequence[Branch]) -> list[Branch]:
    """The branches of a run that was told `before`, has come to `position`, and is now asked for others.

    Those that have begun stay, whether asked for or not.

    Raises: UserError: one that is asked for has not begun, and the run has passed its start or a larger budget's, or it
        would end at the same step as another.
    """
    segments = with_branches(before)
    begun = {each.branch for each in segments if each.start + each.offset < position}
    begun_trunk = [each for each in segments if each.branch is None and each.start + each.offset < position]
    trunk = max((min(each.stop, position - each.offset) for each in begun_trunk), default=0)
    kept = [branch for branch in before if branch.budget in begun]
    new = [branch for branch in asked if branch.budget not in begun]
    largest = max((branch.budget for branch in kept), default=0.0)
    for branch in new:
        if branch.start < trunk or branch.budget < largest:
            raise UserError(
                f"the run has passed step {branch.start}, where the decay to {branch.budget:g} FLOPs would start:"
                " give larger --flops, or choose another --run"
            )
        if branch.stop in {each.stop for each in kept}:
            raise UserError(f"--flops {branch.budget:g} ends at the step of a budget of the run: leave it out")
    return sorted(kept + new, key=lambda branch: branch.budget)


def budget_name(flops: float) -> str:
    """Folder name of a budget: 1e+12 is `1e12`, 3.16e+11 is `3.16e11`."""
    mantissa, exponent = f"{flops:.6e}".split("e")
    return f"{mantissa.rstrip('0').rstrip('.')}e{int(exponent)}"
