"""Seeded NetHack games, with the observations that a recording of them would contain, and their result rows."""

from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from nle import nethack

from data.games.challenge import CHARACTER, SCREEN, SeededChallenge
from data.games.keys import KEYS, action_of_key
from data.spec import COLUMNS, NO_ACTION, ROWS
from eval.engine.recording import Recording

STEP_LIMIT = 1_000_000
"""Default limit on the number of steps of a game, from NetHackChallenge-v0."""


def _recorded() -> np.ndarray:
    """Return a lookup table, uint8 [256], from a terminal character of NLE to the same character in a recording.

    NLE's ttyrec converter replaces IBM line-drawing characters, which appear on the screen when a player types
    them into a text prompt.
    """
    table = np.arange(256, dtype=np.uint8)
    for plain, drawn in {
        "|": (0xB3, 0xB4, 0xC3, 0xFE),
        "-": (0xBF, 0xC0, 0xC1, 0xC2, 0xC4, 0xC5, 0xD9, 0xDA),
        "#": (0xB0, 0xB1, 0xF0, 0xF1),
        "{": (0xF4,),
        "}": (0xF7,),
        ".": (0xFA,),
    }.items():
        table[list(drawn)] = ord(plain)
    return table


RECORDED = _recorded()


def recorded(chars: np.ndarray) -> np.ndarray:
    """The characters of a recording, uint8 [..., 24, 80], of those on NLE's terminal."""
    if chars.max() < 0x80:
        return chars
    screens = chars.reshape(-1, ROWS * COLUMNS).copy()
    drawn = np.flatnonzero(screens.max(axis=1) >= 0x80)
    screens[drawn] = RECORDED[screens[drawn]]
    return screens.reshape(chars.shape)


SCORE, TURNS, DEPTH, LEVEL, GOLD = (
    vars(nethack)[f"NLE_BL_{name}"] for name in ("SCORE", "TIME", "DEPTH", "XP", "GOLD")
)
"""Indices into NLE's `blstats`."""

ACTION_OF_KEY: list[int] = action_of_key().tolist()

ESCAPE, SPACE, YES, QUIT = 27, ord(" "), ord("y"), 0x80 | ord("q")


@dataclass(frozen=True)
class GameRow:
    """Result of a finished NetHack game."""

    seed: int
    score: int
    """The return: final points, as in NetHack's xlogfile and in recorded episodes of experts. Unlike `score_shown`,
    this includes the effect of the last action and adjustments at the end of a game, such as the loss of a tenth of
    the gold on death."""
    score_shown: int
    """In-game score in the last observation before the final action: the sum of NLE's score rewards."""
    steps: int
    """Number of actions."""
    turns: int
    """Game turns that passed."""
    depth: int
    """Deepest dungeon level reached."""
    role: str
    """Three letters, for example `Mon`; empty for a random role without an xlogfile row."""
    death: str
    """Cause of death from the xlogfile, for example `killed by a jackal`; `quit` if the player or a limit ended the
    game; `unrecorded` if the game crashed without an xlogfile row, in which case `score` equals `score_shown`."""
    truncated: bool
    """Whether the game was truncated by the step limit."""
    stalled: bool
    """Whether NetHackChallenge aborted the game because its turn counter had not advanced for too many steps."""
    level: int | None = None
    """Experience level in the last observation of the game; missing in games of earlier versions, as is `gold`."""
    gold: int | None = None
    """Gold pieces in the last observation of the game."""

    @property
    def end(self) -> str:
        """Why the game ended: truncated, stalled, quit, escaped, ascended, unrecorded or died."""
        if self.truncated or self.stalled:
            return "truncated" if self.truncated else "stalled"
        return self.death if self.death in ("quit", "escaped", "ascended", "unrecorded") else "died"


class ChallengeGame:
    """Games of NetHackChallenge-v0, one after the other, each determined by its seed and the actions.

    The current observation is in `chars_24x80`, `colors_24x80`, `cursor_2` (uint8, valid until the next step) and
    `prev_action`, as the observation spec defines them, but that characters from 0x80 on may be drawn as on an IBM
    terminal: `recorded` gives those of a recording.
    """

    def __init__(
        self,
        character: str = CHARACTER,
        max_steps: int | None = None,
        screen: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None,
    ) -> None:
        """Create an environment.

        Args:
            character: NetHack's character.
            max_steps: Truncate games after this many steps; None keeps the environment's own limit.
            screen: Arrays for characters, colours and cursor, uint8 [24, 80], [24, 80] and [2], which NLE writes into.
                Nobody else may write into them.
        """
        self._character = character
        self._limit = STEP_LIMIT if max_steps is None else max_steps
        size = (ROWS, COLUMNS)
        screen = screen or (np.zeros(size, np.uint8), np.zeros(size, np.uint8), np.zeros(2, np.uint8))
        self.chars_24x80, self.colors_24x80, self.cursor_2 = screen
        self._stats = np.zeros(nethack.BLSTATS_SHAPE, np.int64)
        self._seen = self._stats.data
        self._opening: deque[tuple[np.ndarray, np.ndarray, np.ndarray, int]] = deque()
        self._kept = self._env = self._made()
        """The environment of games that are not recorded, and that of the current game."""
        self._recording: Recording | None = None

    def _made(self, recording: Recording | None = None) -> SeededChallenge:
        env = SeededChallenge(
            character=self._character,
            max_episode_steps=self._limit,
            observation_keys=(*SCREEN, "blstats"),
            save_ttyrec_every=0 if recording is None else 1,
            savedir=None if recording is None else str(recording.part),
        )
        parts = (self.chars_24x80, self.colors_24x80.view(np.int8), self.cursor_2, self._stats)
        for part in parts:
            part[...] = 0
        env.write_into(dict(zip((*SCREEN, "blstats"), parts, strict=True)))
        return env

    def start(self, seed: int, record: Path | None = None) -> None:
        """Start the game of a seed; a game that is not over is left as it is.

        Args:
            seed: The seed.
            record: Folder in which to keep a recording of the game, in a folder of its own.
        """
        self.seed = seed
        if self._recording is not None:
            self._env.close()
        self._recording = None if record is None else Recording.begin(record, seed)
        # An environment that records does not play again: its xlogfile would have the rows of several games.
        self._env = self._kept if self._recording is None else self._made(self._recording)
        self._in_game, self._advance = self._env.nethack.in_normal_game, self._env.advance
        self._opening = self._start()
        self._steps = self._score = self._gold = 0
        self._turns = self._depth = self._level = 1
        self.prev_action = NO_ACTION
        if self._opening:
            self._first = self._copied()
            self._show(*self._opening[0][:3])
        else:
            self._look()

    @property
    def observation(self) -> dict[str, np.ndarray]:
        """Observation of an expert's player, valid until the next step."""
        return {"chars": recorded(self.chars_24x80), "colors": self.colors_24x80, "cursor": self.cursor_2}

    @property
    def opening(self) -> bool:
        """Whether the current observation is a screen that NLE pages past by itself before the player's first turn.

        `step` ignores the action on such a screen. Recordings contain these screens with NLE's key presses as actions.
        """
        return bool(self._opening)

    def _copied(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return self.chars_24x80.copy(), self.colors_24x80.copy(), self.cursor_2.copy()

    def _start(self) -> deque[tuple[np.ndarray, np.ndarray, np.ndarray, int]]:
        """Reset, and return the opening screens: characters, colors, cursor, and the key that NLE pressed on each."""
        opening = deque()
        step = self._env.nethack.step

        def press(action: int) -> Any:
            opening.append((*self._copied(), action))
            return step(action)

        self._env.nethack.step = press
        self._env.reset_to(self.seed)
        self._env.nethack.step = step
        return opening

    def _show(self, chars_24x80: np.ndarray, colors_24x80: np.ndarray, cursor_2: np.ndarray) -> None:
        self.chars_24x80[...], self.colors_24x80[...], self.cursor_2[...] = chars_24x80, colors_24x80, cursor_2

    def _look(self) -> None:
        if self._in_game():
            stats = self._seen
            self._score, self._turns = stats[SCORE], stats[TURNS]
            self._level, self._gold = stats[LEVEL], stats[GOLD]
            if stats[DEPTH] > self._depth:
                self._depth = stats[DEPTH]

    def step(self, action: int) -> GameRow | None:
        """Take an action and update the observation.

        Args:
            action: Index into `data.games.keys.KEYS`.

        Returns:
            The result row if the game has ended, otherwise None.
        """
        if self._opening:
            key = self._opening.popleft()[3]
            self.prev_action = ACTION_OF_KEY[key]
            # NLE writes what changes from the last of these screens on: it must be there as NLE left it.
            self._show(*(self._opening[0][:3] if self._opening else self._first))
            if not self._opening:
                self._look()
            return None
        key = KEYS[action]
        ended, stopped = self._advance(key)
        self._steps += 1
        if not ended:
            self.prev_action = ACTION_OF_KEY[key]
            self._look()
            return None
        truncated = stopped and self._steps >= self._limit
        return self._end(truncated=truncated, stalled=stopped and not truncated)

    def _end(self, truncated: bool, stalled: bool) -> GameRow:
        if (truncated or stalled) and not self._record():
            self._quit()
        record = self._record()
        if self._recording is not None:
            self._env.close()
            self._recording.keep()
            self._recording, self._env = None, self._kept
        return GameRow(
            seed=self.seed,
            score=int(record["points"]) if record else self._score,
            score_shown=self._score,
            steps=self._steps,
            turns=int(record["turns"]) if record else self._turns,
            depth=int(record["maxlvl"]) if record else self._depth,
            role=record["role"] if record else self._character.split("-")[0].strip("@").capitalize(),
            death=record["death"] if record else "unrecorded",
            truncated=truncated,
            stalled=stalled,
            level=self._level,
            gold=self._gold,
        )

    def _record(self) -> dict[str, str]:
        """Return the game's xlogfile row, empty if there is none yet."""
        path = self._env.folder / "xlogfile" if self._recording is None else self._recording.xlogfile
        lines = path.read_text().splitlines()
        return dict(field.split("=", 1) for field in lines[-1].split("\t")) if lines else {}

    def _quit(self) -> None:
        """Leave prompts and menus, quit the game, and page through the final screens."""
        for key in [ESCAPE] * 5 + [QUIT, YES] + [SPACE, ESCAPE] * 20:
            _, done = self._env.nethack.step(key)
            if done:
                return

    def close(self) -> None:
        """Close the environment and remove its files; a recording of a game that is not over is left."""
        self._env.close()
        self._kept.close()
