"""What the screens of a game tell of it."""

from pathlib import Path

import pytest

from data.common.cli import UserError
from data.importers.base import ABANDONED
from data.importers.nld import facts_of, find, import_nld, read_steps
from data.importers.status import Watched
from data.store.reader import TrajectoryStore
from tests.data.importers.recordings import frame, row, ttyrec3, write

GREETING = b"\x1b[HHello Agent, welcome to NetHack!  You are a lawful dwarven Valkyrie.--More--"


def status(score: int, depth: int, turn: int) -> bytes:
    line = f"\x1b[23;1HAgent the Stripling  St:15 Dx:14 Co:15 In:10 Wi:12 Ch:9 Lawful S:{score}\x1b[K"
    return f"{line}\x1b[24;1HDlvl:{depth} $:5 HP:14(14) Pw:4(4) AC:4 Xp:1/0 T:{turn}\x1b[K".encode()


def test_games_without_a_row_are_imported_with_what_the_screen_tells(tmp_path: Path) -> None:
    lines = [status(0, 1, 1), status(20, 3, 90), status(57, 2, 120)]
    screens = [GREETING + lines[0], b"\x1b[2J" + lines[1], lines[2]]
    content = b"".join(frame(0, screen) + frame(1, b"j") for screen in screens)
    folder = write(tmp_path / "games", {"nle.1.0.ttyrec.bz2": content, "nle.1.1.ttyrec.bz2": ttyrec3(b"hj")})
    (folder / "nle.1.xlogfile").write_text(row("nle.1.1.ttyrec.bz2"))
    refused = import_nld(folder, tmp_path / "store", workers=1)
    assert [(skip.kind, "--allow-unfinished" in skip.reason) for skip in refused.skipped] == [(ABANDONED, True)]
    assert import_nld(folder, tmp_path / "store", workers=1, allow_unfinished=True).games == 1
    with_row, without = TrajectoryStore.open(tmp_path / "store").episodes
    assert (with_row.score, with_row.role) == (77.0, "mon-hum-neu-mal"), "what the xlogfile says goes first"
    assert (without.role, without.score, without.turns, without.depth) == ("val-dwa-law-fem", 57.0, 120, 3)
    assert without.death is None
    plain = write(
        tmp_path / "plain", {"nle.1.0.ttyrec3.bz2": b"".join(frame(0, b"text") + frame(1, b"j") for _ in range(3))}
    )
    (plain / "nle.1.xlogfile").unlink()
    with pytest.raises(UserError, match="neither an xlogfile nor its screens tell its score"):
        import_nld(plain, tmp_path / "none", workers=1, allow_unfinished=True)


def test_screens_tell_what_the_xlogfile_does(nld: Path) -> None:
    smallest = sorted(find(nld / "roles"), key=lambda found: found.path.stat().st_size)[:6]
    for recording in smallest:
        game = Watched()
        for _ in game.watch(read_steps(recording.path)):
            pass
        facts = facts_of(recording.rows[0])
        assert game.facts() == {name: facts[name] for name in ("role", "score", "turns", "depth")}
