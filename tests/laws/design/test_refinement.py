"""Which sizes a budget needs besides, and where the next budget's optimum is expected."""

import math
from dataclasses import replace

import pytest

from laws.design.config import Size
from laws.design.refinement import decided, expected_next, profiles_of
from laws.fitting.analysis import fit
from laws.fitting.isoflop import Profile
from tests.laws.synthetic import hoffmann_sweep

ROWS = hoffmann_sweep(noise=0.001, budgets=3)
BUDGETS = sorted({row.flops for row in ROWS})
FAMILY = [Size(f"g/lstm/{number}", round(10 ** (number / 10)), 1, 1) for number in range(50, 110)]


def profile(keep: slice) -> tuple[Profile, list[Size]]:
    """The profile of the first budget, of some of its sizes only, and these sizes."""
    rows = sorted((row for row in ROWS if row.flops == BUDGETS[0]), key=lambda row: row.params)[keep]
    sizes = [Size(f"g/lstm/{row.run}", row.params, 1, 1) for row in rows]
    others = [row for row in ROWS if row.flops > BUDGETS[0]]
    return profiles_of(fit([*rows, *others], choosing=False), BUDGETS)[BUDGETS[0]], sizes


def test_a_narrow_vertex_needs_nothing_and_a_wide_one_the_nearest_sizes_on_both_sides() -> None:
    found, sizes = profile(slice(None))
    assert found.vertex is not None
    assert decided(found, sizes, FAMILY, 3.0).sizes == ()
    best = found.vertex.params
    added = decided(found, sizes, FAMILY, 1.0001)
    assert len(added.sizes) == 2
    assert added.sizes[0].params < best <= added.sizes[1].params
    assert all(abs(math.log(size.params / best)) < math.log(10) / 10 for size in added.sizes)
    assert "adds" in added.reason
    assert decided(found, sizes, [], 1.0001).reason.endswith("(--seeds would narrow it)")


@pytest.mark.parametrize(("keep", "beyond"), [(slice(4, None), -1), (slice(None, 3), 1)])
def test_at_an_edge_it_goes_on_beyond(keep: slice, beyond: int) -> None:
    found, sizes = profile(keep)
    decision = decided(replace(found, vertex=None), sizes, FAMILY, 2.0)
    ends = sizes[0].params, sizes[-1].params
    assert len(decision.sizes) == 2
    assert all(size.params < ends[0] if beyond < 0 else size.params > ends[1] for size in decision.sizes)


def test_the_next_optimum_is_by_the_law_or_through_the_last_vertex() -> None:
    best = [profiles_of(fit(ROWS, draws=0), BUDGETS)[budget].vertex for budget in BUDGETS]
    for rows in (ROWS, [row for row in ROWS if row.flops <= BUDGETS[1]]):
        distance = expected_next(fit(rows, draws=0), "nethack")
        assert distance is not None
        last = best[len({row.flops for row in rows}) - 1]
        assert last is not None
        wanted = last.params * 10**0.25
        ahead = Size("g", round(wanted), 1, 1)
        assert distance(ahead, max(row.flops for row in rows) * 10**0.5) == pytest.approx(0, abs=0.15)
    assert expected_next(fit([]), "nethack") is None
