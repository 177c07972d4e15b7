"""The segments of a run with branches: each budget costs what it says, and larger ones only append."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.common.cli import UserError
from train.config import Optimizer
from train.optimizer import learning_rate
from train.schedule.decay import decay_factor
from train.schedule.segments import Branch, branch_open, extended, remaining, trunk_alone, with_branches

stops = st.lists(st.integers(1, 200), min_size=1, max_size=6, unique=True).map(sorted)


def branches_to(stops: list[int]) -> list[Branch]:
    """Branches over about the last fifth; of close budgets, one starts before the last one ends."""
    return [Branch(float(stop), int(0.8 * stop), stop) for stop in stops]


@given(stops)
def test_each_budget_is_the_trunk_to_its_branch_and_the_branch(stops: list[int]) -> None:
    trunk = position = 0
    spent = []
    for segment in with_branches(branches_to(stops)):
        assert segment.start == trunk
        assert segment.start + segment.offset == position < segment.end
        position = segment.end
        if segment.branch is None:
            assert segment.spends == ()
            trunk = segment.stop
        else:
            assert segment.spends == (segment.stop,) == (segment.branch,)
            spent.append(segment.stop)
    assert spent == stops


@given(stops, st.data())
def test_larger_budgets_only_append(stops: list[int], data: st.DataObject) -> None:
    told = branches_to(stops)
    count = data.draw(st.integers(1, len(told)))
    assert with_branches(told)[: len(with_branches(told[:count]))] == with_branches(told[:count])
    position = data.draw(st.integers(0, with_branches(told[:count])[-1].end))
    assert extended(told[:count], position, told) == told
    # What has begun stays, what has not is dropped if it is not asked for again.
    begun = {segment.branch for segment in with_branches(told) if segment.start + segment.offset < position}
    kept = [branch for branch in told[:count] if branch.budget in begun]
    assert extended(told[:count], position, told[count:]) == kept + told[count:]


@given(stops, st.data())
def test_what_remains_starts_where_the_run_is(stops: list[int], data: st.DataObject) -> None:
    segments = with_branches(branches_to(stops))
    position = data.draw(st.integers(0, segments[-1].end))
    left = remaining(segments, position)
    assert sum(segment.stop - start for segment, start in left) == segments[-1].end - position
    if left:
        segment, start = left[0]
        assert start + segment.offset == position
        # At its start there is no state of its own yet, and at its end no more.
        assert branch_open(segments, position) == (segment.branch is not None and start > segment.start)


def test_a_budget_whose_branch_would_start_in_the_past_is_refused() -> None:
    told = branches_to([10, 100])
    # The trunk to 8, the branch to 10, the trunk on to 50.
    position = 8 + 2 + 42
    assert [branch.stop for branch in extended(told, position, branches_to([63, 100]))] == [10, 63, 100]
    assert [branch.stop for branch in extended(told, position, branches_to([63]))] == [10, 63]
    for late in ([60], [9, 100]):
        with pytest.raises(UserError, match=rf"passed step {int(0.8 * late[0])}, .* larger --flops, or .* --run"):
            extended(told, position, branches_to(late))
    # Inside of a branch the trunk waits at its start, but a smaller budget's branch would come too late.
    with pytest.raises(UserError, match="passed step 8"):
        extended(branches_to([11]), 9, [Branch(10.0, 8, 10)])
    assert len(extended(branches_to([11]), 8, [Branch(10.0, 8, 10)])) == 1
    # Of a budget less than a step larger than one that has begun, the branch would be the same one.
    with pytest.raises(UserError, match="ends at the step of a budget"):
        extended([Branch(1e12, 80, 100)], 100, [Branch(1.0001e12, 80, 100)])


def test_without_branches_it_is_one_segment() -> None:
    (segment,) = trunk_alone([4, 12])
    assert (segment.start, segment.end, segment.branch, segment.spends) == (0, 12, None, (4, 12))


def test_the_learning_rate_of_the_trunk_depends_on_no_budget_and_that_of_a_branch_ends_at_the_final_one() -> None:
    optimizer = Optimizer(lr=1e-2, final_lr=1e-3, warmup_samples=100, schedule="wsd")
    short, long = (learning_rate(optimizer, 10, steps) for steps in (12, 1000))
    assert [float(short(step)) for step in range(20)] == [float(long(step)) for step in range(20)]
    assert [float(short(step)) for step in (0, 10, 500)] == pytest.approx([1e-3, 1e-2, 1e-2])
    (_, branch) = with_branches([Branch(1.0, 80, 100)])

    def factor(step: int, decay: tuple[int, int]) -> float:
        return float(decay_factor(np.int32(step), np.array(decay, np.int32), optimizer.decay_to))

    assert [factor(step, branch.decay) for step in (80, 90, 100)] == pytest.approx([1, 0.55, 0.1])
    assert factor(90, (0, 0)) == 1.0
