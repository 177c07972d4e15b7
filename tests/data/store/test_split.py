"""A dev split of a number of games, stratified by role and length."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.common.cli import UserError
from data.store.episodes import Episode, stratified
from data.store.manifest import uneven
from data.store.reader import TrajectoryStore
from data.store.verify import verify
from data.store.writer import StoreWriter
from tests.data.store.stores import NETHACK, content, game, write

ROLES = ("arc-dwa-law-mal", "mon-hum-neu-mal", "val-hum-neu-fem", None)


def episode(number: int, role: str | None, length: int) -> Episode:
    return Episode(f"{number:016x}", "train", length, 0.0, role, None, "", None, "", 0, number)


def episodes(facts: Sequence[tuple[str | None, int]]) -> list[Episode]:
    return [episode(number, role, length) for number, (role, length) in enumerate(facts)]


def dev(rows: Sequence[Episode]) -> list[Episode]:
    return [row for row in rows if row.split == "dev"]


FACTS = st.lists(st.tuples(st.sampled_from(ROLES), st.integers(1, 10**6)), min_size=2, max_size=200)


@given(FACTS, st.data())
def test_each_role_and_each_length_has_its_share(facts: list[tuple[str | None, int]], data: st.DataObject) -> None:
    count = data.draw(st.integers(1, len(facts) - 1))
    rows = stratified(episodes(facts), count)
    assert [replace(row, split="train") for row in rows] == episodes(facts)
    assert len(dev(rows)) == count
    share, chosen = count / len(rows), Counter(row.role for row in dev(rows))
    for role, games in Counter(row.role for row in rows).items():
        assert abs(chosen[role] - share * games) <= 1
        of_role = sorted((row for row in rows if row.role == role), key=lambda row: (row.length, row.id))
        shorter = of_role[: games // 2]
        assert abs(len(dev(shorter)) - share * len(shorter)) <= 2
    # The order of the games in the store doesn't matter.
    assert dev(stratified(episodes(facts)[::-1], count)) == dev(rows)[::-1]


def test_five_of_sixty_at_fifteen_percent_are_told_and_nine_are_had(tmp_path: Path) -> None:
    games = [game(seed, 5 + seed % 7) for seed in range(60)]

    def made(name: str, **options: Any) -> tuple[int, list[str]]:
        with StoreWriter(tmp_path / name, NETHACK, expert="test", **options) as writer:
            for each in games:
                writer.add(each)
        store = TrajectoryStore.open(tmp_path / name)
        assert verify(store.path) == []
        assert sum(store.manifest["split"][split] for split in ("train", "dev")) == 60
        return store.manifest["split"]["dev"], list(uneven(store.manifest["split"]))

    fractions = [fraction / 100 for fraction in range(5, 50, 5)]
    by_hash = [(fraction, *made(f"at-{fraction}", dev_fraction=fraction)) for fraction in fractions]
    for fraction, held, warnings in by_hash:
        assert len(warnings) == (abs(held - fraction * 60) > max(1, fraction * 20))
        assert all(f"has {held} of 60 games" in line and "--dev-games" in line for line in warnings)
    assert any(warnings for *_, warnings in by_hash), "of so many fractions one is far off"
    assert made("nine", dev_games=9) == (9, [])


def test_games_that_are_added_later_are_for_training(tmp_path: Path) -> None:
    path = write(tmp_path / "store", (5, 6, 700), dev_fraction=None, dev_games=1)
    [held_out] = TrajectoryStore.open(path).rows("dev")
    for first, dev_games in ((30, None), (40, 1)):
        with StoreWriter(path, NETHACK, dev_games=dev_games) as writer:
            for seed in range(4):
                writer.add(game(first + seed, 9))
    store = TrajectoryStore.open(path)
    assert store.rows("dev").tolist() == [held_out]
    assert len(store.rows("train")) == 10
    assert store.manifest["split"]["dev_games"] == 1
    with pytest.raises(UserError, match="dev_games 1, not 2"), StoreWriter(path, NETHACK, dev_games=2):
        pass


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"dev_games": 3}, "--dev-games 3 of 3 games leaves none to train"),
        ({"dev_games": 0}, "--dev-games 0: give at least 1"),
        ({"dev_games": 2, "dev_fraction": 0.5}, "no --dev-fraction"),
    ],
)
def test_an_impossible_split_leaves_nothing(tmp_path: Path, options: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        write(tmp_path / "store", (5, 6, 7), options.pop("dev_fraction", None), **options)
    assert not (tmp_path / "store").exists()


def test_an_interrupted_import_goes_on_with_the_split_of_all_games(tmp_path: Path) -> None:
    whole = write(tmp_path / "whole", (5, 6, 7, 8), dev_fraction=None, dev_games=2)

    def cut() -> None:
        with StoreWriter(tmp_path / "cut", NETHACK, expert="test", dev_games=2) as writer:
            for seed, length in enumerate((5, 6)):
                writer.add(game(seed, length))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cut()
    assert "pending.json" in content(tmp_path / "cut")
    write(tmp_path / "cut", (5, 6, 7, 8), dev_fraction=None, dev_games=2)
    one, other = TrajectoryStore.open(whole), TrajectoryStore.open(tmp_path / "cut")
    assert one.checksum == other.checksum
