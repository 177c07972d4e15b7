"""What the screens of a NetHack game tell of it where no xlogfile does: character, score, turns and depth.

They are read off the greeting, the status lines, which menus and maps don't cover, and the farewell if there is one.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from data.importers.base import DAMAGED, Unusable
from data.spec import COLUMNS, NO_SCORE, ROWS, NetHackSteps

_GREETED = 200
"""Steps in which the greeting is looked for."""
_GREETING = re.compile(
    rb"You are an? (lawful|neutral|chaotic) (?:(male|female) )?(human|elven|dwarven|gnomish|orcish) ([A-Z][a-z]+)"
)
_RACES = {b"human": "hum", b"elven": "elf", b"dwarven": "dwa", b"gnomish": "gno", b"orcish": "orc"}
_GENDERS = {b"Caveman": "mal", b"Priest": "mal", b"Cavewoman": "fem", b"Priestess": "fem", b"Valkyrie": "fem"}
"""Of the roles whose name tells it, which the greeting leaves out."""
PARTED = 30
"""Last steps in which the farewell is looked for."""
_FAREWELL = re.compile(rb"with (-?\d+) points?,")
_DEPTH, _TURN, _SCORE = re.compile(rb"Dlvl:(\d+)"), re.compile(rb" T:(\d+)"), re.compile(rb" S:(-?\d+)")


@dataclass
class Watched:
    """The facts of a game, known once its steps have passed through `watch`."""

    role: str | None = None
    """As role-race-alignment-gender."""
    score: int | None = None
    turns: int | None = None
    depth: int | None = None
    _last: np.ndarray = field(default_factory=lambda: np.zeros((0, ROWS, COLUMNS), np.uint8))
    """The last screens, uint8 [steps, 24, 80]."""

    def watch(self, pieces: Iterator[NetHackSteps]) -> Iterator[NetHackSteps]:
        """Pass the steps of a game on, and note what they tell."""
        greeted = 0
        for piece in pieces:
            if self.role is None and greeted < _GREETED:
                for screen in piece.chars_Sx24x80[: _GREETED - greeted]:
                    self.role = self.role or _role(screen[:3].tobytes())
                greeted += len(piece.chars_Sx24x80)
            self._note(piece)
            self._last = piece.chars_Sx24x80[-PARTED:].copy()
            yield piece

    def facts(self) -> dict[str, Any]:
        """Fields of `PackedEpisode`.

        Raises:
            Unusable: The screens tell no score.
        """
        farewells = [score for screen in self._last if (score := farewell(screen)) is not None]
        if farewells:
            self.score = farewells[-1]
        if self.score is None:
            raise Unusable(DAMAGED, "neither an xlogfile nor its screens tell its score")
        return {"role": self.role, "score": float(self.score), "turns": self.turns, "depth": self.depth}

    def _note(self, piece: NetHackSteps) -> None:
        lines = piece.chars_Sx24x80[:, ROWS - 2 :]
        # Status lines are the same for several steps.
        changed = np.flatnonzero(np.r_[True, (lines[1:] != lines[:-1]).any(axis=(1, 2))])
        for step in changed.tolist():
            scores, others = (line.tobytes() for line in lines[step])
            if found := _DEPTH.match(others):
                self.depth = max(self.depth or 0, int(found[1]))
            if found := _TURN.search(others):
                self.turns = int(found[1])
            if found := _SCORE.search(scores):
                self.score = int(found[1])
        # NLE's score is 0 again once the game has ended.
        if len(scored := np.flatnonzero((piece.score_S != NO_SCORE) & (piece.score_S != 0))):
            self.score = int(piece.score_S[scored[-1]])


def shown_score(screen: np.ndarray) -> int | None:
    """The score in the status lines of a screen, uint8 [24, 80]; None on others."""
    found = _SCORE.search(screen[ROWS - 2].tobytes())
    return int(found[1]) if found else None


def farewell(screen: np.ndarray) -> int | None:
    """The final score on the screen that ends a game, uint8 [24, 80]; None on others."""
    found = _FAREWELL.search(screen.tobytes())
    return int(found[1]) if found else None


def _role(text: bytes) -> str | None:
    # A long greeting goes on in the next line.
    found = _GREETING.search(re.sub(rb" +", b" ", text))
    if found is None:
        return None
    alignment, gender, race, role = found.groups()
    named = gender.decode()[:3] if gender else _GENDERS.get(role, "mal")
    return f"{role.decode()[:3].lower()}-{_RACES[race]}-{alignment.decode()[:3]}-{named}"
