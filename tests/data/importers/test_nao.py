"""Recordings of people on alt.org: which belong to which game, and what they show."""

import json
import shutil
from datetime import datetime
from pathlib import Path

import nle
import numpy as np
import pytest
from nle.dataset import Converter

from data.common.cli import UserError
from data.importers.base import Skipped, converted
from data.importers.nao import BRIEF, LISTED, convert, find, import_nao
from data.importers.nld import import_nld
from data.importers.ttyrec import converter_buffers
from data.sampling.stream import batches, dev_batches
from data.store.reader import TrajectoryStore
from data.store.verify import verify

PUBLISHED = Path(nle.__file__).parent / "tests"
"""NLE's package has real recordings of alt.org, and a folder in the layout of NLD-NAO whose recordings are empty."""


def row(begun: str, ended: str, **changes: object) -> str:
    times = {f"{name}time": int(datetime.fromisoformat(f"{text}+00:00").timestamp())
             for name, text in (("start", begun), ("end", ended))}  # fmt: skip
    facts = {"points": 77, "maxlvl": 3, "turns": 123, "role": "Val", "race": "Hum", "gender": "Fem", "align": "Neu"}
    facts |= {"gender0": "Fem", "align0": "Neu", "name": "Ann", "death": "killed by a newt"} | times | changes
    return "\t".join(f"{key}={value}" for key, value in facts.items()) + "\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Real recordings of one player: two parts of a game, a game, one left at once, one blacklisted, one of no game."""
    path = tmp_path / "nao"
    (path / "ann").mkdir(parents=True)
    for file in PUBLISHED.glob("20*.ttyrec.bz2"):
        shutil.copy(file, path / "ann")
    rows = [
        row("2009-02-05 10:38:00", "2013-01-01 00:00:00", points=1),
        row("2018-09-27 00:20:50", "2018-09-28 00:00:00", points=2),
        row("2017-07-28 18:44:00", "2017-07-29 00:00:00", turns=10, death="quit"),
        row("2020-10-03 17:27:00", "2020-10-04 00:00:00"),
        row("2021-10-03 17:27:00", "2021-10-04 00:00:00", name="Bea"),
    ]
    (path / "xlogfile.1").write_text("".join(rows))
    (path / "blacklist.txt").write_text("ann/2020-10-03.17_27_10.ttyrec.bz2\n")
    return path


def test_recordings_are_assigned_as_nle_does() -> None:
    recordings = find(PUBLISHED / "altorg")
    ours = {
        path.relative_to(PUBLISHED / "altorg").as_posix(): (part, int(recording.row["points"]))
        for recording in recordings
        if recording.row is not None
        for part, path in enumerate(recording.paths)
    }
    theirs = {
        line[0]: (line[1], line[7])
        for line in json.loads((PUBLISHED / "altorg" / "db.json").read_text())
        if line[4] > 0
    }
    assert len(theirs) > 5
    assert ours == theirs


def test_games_are_stored_as_the_converter_reads_them(folder: Path, tmp_path: Path) -> None:
    report = import_nao(folder, tmp_path / "store", workers=2, dev_fraction=0.5)
    kinds = {skip.source[4:14]: skip.kind for skip in report.skipped}
    assert kinds == {"2017-07-28": BRIEF, "2019-11-18": "abandoned", "2020-10-03": LISTED}
    assert report.games == 2
    store = TrajectoryStore.open(tmp_path / "store")
    assert [(game.score, game.source[4:8]) for game in store.episodes] == [(1.0, "2009"), (2.0, "2018")]
    assert verify(store.path) == []
    reader, columns = Converter(24, 80, 1), []
    for name in ("2009-02-05.10_33_51", "2012-02-16.21_09_51"):
        reader.load_ttyrec(str(folder / "ann" / f"{name}.ttyrec.bz2"))
        buffers = converter_buffers()
        left = reader.convert(*buffers)
        columns.append([buffer[: len(buffer) - left] for buffer in buffers[:3]])
    chars, colors, cursor = (np.concatenate(column) for column in zip(*columns, strict=True))
    assert store.episodes[0].length == len(chars) > 400
    steps = store.read(0, 0, len(chars))
    np.testing.assert_array_equal(steps.chars_Sx24x80, chars)
    np.testing.assert_array_equal(steps.colors_Sx24x80, colors.view(np.uint8))
    np.testing.assert_array_equal(steps.cursor_Sx2, cursor)
    assert import_nao(folder, tmp_path / "store", workers=1).known == 2


def test_there_is_nothing_to_imitate(folder: Path, tmp_path: Path) -> None:
    import_nao(folder, tmp_path / "store", workers=1, dev_fraction=0.5)
    store = TrajectoryStore.open(tmp_path / "store")
    for read in (lambda: next(batches(store, "train", 1, 8, 0)), lambda: dev_batches(store, 1, 8)):
        with pytest.raises(UserError, match="screens without actions"):
            read()


def test_without_being_asked_for_they_are_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"6 without key presses .*--allow-no-actions"):
        import_nld(folder, tmp_path / "store", workers=1)
    assert not (tmp_path / "store").exists()


def test_a_damaged_part_is_named(folder: Path) -> None:
    part = folder / "ann" / "2012-02-16.21_09_51.ttyrec.bz2"
    part.write_bytes(part.read_bytes()[:-3])
    results = [converted(convert, recording) for recording in find(folder)]
    damaged = [result for result in results if isinstance(result, Skipped) and result.kind == "damaged"]
    assert [(skip.source, skip.reason) for skip in damaged] == [("ann/2009-02-05.10_33_51.ttyrec.bz2", "cut short")]
