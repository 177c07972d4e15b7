"""Selecting episodes of a store."""

from pathlib import Path

import pytest

from data.codec.screens import SCREENS
from data.common.cli import UserError
from data.games import nethack
from data.store.episodes import EpisodeFilter
from data.store.pack import pack
from data.store.reader import TrajectoryStore
from data.store.writer import StoreWriter
from tests.data.codec.test_codec import random_steps

PLAYED = [("mon-hum", 5.0, 10, 1), ("val-dwa", 50.0, 20, 3), ("mon-hum", 500.0, 30, 5), (None, 50.0, 40, None)]
"""Role, score, length, depth."""


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("games") / "store"
    with StoreWriter(path, nethack.content(), expert="test", dev_fraction=0.0) as writer:
        for role, score, length, depth in PLAYED:
            steps = random_steps(length, length)
            writer.add(pack(SCREENS, [steps], score=score, source=f"{length}", role=role, depth=depth))
    return path


@pytest.mark.parametrize(
    ("filter", "lengths"),
    [
        (EpisodeFilter(), [10, 20, 30, 40]),
        (EpisodeFilter(roles=("mon",)), [10, 30]),
        (EpisodeFilter(roles=("val", "mon-h")), [10, 20, 30]),
        (EpisodeFilter(roles=("Mon",)), [10, 30]),
        (EpisodeFilter(roles=("VAL", "Mon-Hum")), [10, 20, 30]),
        (EpisodeFilter(min_score=50), [20, 30, 40]),
        (EpisodeFilter(max_score=50), [10, 20, 40]),
        (EpisodeFilter(min_length=20, max_length=30), [20, 30]),
        (EpisodeFilter(min_depth=2), [20, 30]),
        (EpisodeFilter(max_depth=3), [10, 20]),
        (EpisodeFilter(roles=("mon",), min_score=6, max_depth=9), [30]),
    ],
)
def test_only_the_chosen_games_are_read(path: Path, filter: EpisodeFilter, lengths: list[int]) -> None:
    store = TrajectoryStore.open(path, filter=filter)
    assert store.lengths[store.rows("train")].tolist() == lengths
    assert len(store.episodes) == len(PLAYED)


def test_a_choice_of_nothing_is_refused_with_the_options_that_make_it(path: Path) -> None:
    store = TrajectoryStore.open(path, filter=EpisodeFilter(roles=("sam",), min_score=3))
    said = r"none of the 4 train episodes .* --roles sam --min-score 3: there are characters mon-.* and a score from "
    with pytest.raises(UserError, match=said):
        store.rows("train")
    with pytest.raises(UserError, match="at least 9 and at most 3"):
        EpisodeFilter(min_depth=9, max_depth=3)
