"""One seeded NetHack game, with the observations that a recording of it would contain, and its result row."""

import warnings
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from nle import nethack

from data.common.workers import follow_parent
from data.experts.registry import Expert
from data.games.challenge import SeededChallenge
from data.games.keys import KEYS, action_of_key
from data.games.nethack import CHARACTER
from data.spec import NO_ACTION

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

SCORE, TURNS, DEPTH = (vars(nethack)[f"NLE_BL_{name}"] for name in ("SCORE", "TIME", "DEPTH"))
"""Indices into NLE's `blstats`."""

_halt: Any = None
"""In a worker process, the shared flag that cancels its games; elsewhere None."""

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


class SeededGame:
    """A game of NetHackChallenge-v0, determined by its seed and the actions.

    The current observation is in `chars_24x80`, `colors_24x80`, `cursor_2` (uint8, valid until the next step) and
    `prev_action`, as the observation spec defines them.

    Every game creates its own environment, so that no state carries over from earlier games.
    """

    def __init__(self, seed: int, character: str = CHARACTER, max_steps: int | None = None) -> None:
        self.seed = seed
        self._character = character
        self._limit = STEP_LIMIT if max_steps is None else max_steps
        self._env = SeededChallenge(
            character=character,
            max_episode_steps=self._limit,
            observation_keys=("tty_chars", "tty_colors", "tty_cursor", "blstats"),
        )
        self._opening = self._start()
        self._steps = 0
        self._score = 0
        self._turns = 1
        self._depth = 1
        self.prev_action = NO_ACTION
        if self._opening:
            self._show(*self._opening[0][:3])
        else:
            self._look()

    @property
    def observation(self) -> dict[str, np.ndarray]:
        """Observation of an expert's player, valid until the next step."""
        return {"chars": self.chars_24x80, "colors": self.colors_24x80, "cursor": self.cursor_2}

    @property
    def opening(self) -> bool:
        """Whether the current observation is a screen that NLE pages past by itself before the player's first turn.

        `step` ignores the action on such a screen. Recordings contain these screens with NLE's key presses as actions.
        """
        return bool(self._opening)

    def _start(self) -> deque[tuple[np.ndarray, np.ndarray, np.ndarray, int]]:
        """Reset, and return the opening screens: characters, colors, cursor, and the key that NLE pressed on each."""
        opening = deque()
        step = self._env.nethack.step

        def press(action: int) -> Any:
            chars, colors, cursor = (np.array(array) for array in self._env.last_observation[:3])
            opening.append((chars, colors, cursor, action))
            return step(action)

        self._env.nethack.step = press
        self._env.reset_to(self.seed)
        self._env.nethack.step = step
        return opening

    def _show(self, chars_24x80: np.ndarray, colors_24x80: np.ndarray, cursor_2: np.ndarray) -> None:
        self.chars_24x80 = RECORDED[chars_24x80]
        self.colors_24x80 = colors_24x80.view(np.uint8)
        self.cursor_2 = cursor_2

    def _look(self) -> None:
        chars, colors, cursor, blstats = (np.asarray(array) for array in self._env.last_observation[:4])
        self._show(chars, colors, cursor)
        if self._env.nethack.in_normal_game():
            self._score = int(blstats[SCORE])
            self._turns = int(blstats[TURNS])
            self._depth = max(self._depth, int(blstats[DEPTH]))

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
            if self._opening:
                self._show(*self._opening[0][:3])
            else:
                self._look()
            return None
        with warnings.catch_warnings():
            # In some prompts NLE fails to quit the game; `_end` does it then.
            warnings.filterwarnings("ignore", message="Warning: smooth quitting of game failed")
            _, _, done, _, info = self._env.step(action)
        self._steps += 1
        if not done:
            self.prev_action = ACTION_OF_KEY[KEYS[action]]
            self._look()
            return None
        stopped = info["end_status"] == self._env.StepStatus.ABORTED
        truncated = stopped and self._steps >= self._limit
        return self._end(truncated=truncated, stalled=stopped and not truncated)

    def _end(self, truncated: bool, stalled: bool) -> GameRow:
        if (truncated or stalled) and not self._record():
            self._quit()
        record = self._record()
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
        )

    def _record(self) -> dict[str, str]:
        """Return the game's xlogfile row, empty if there is none yet."""
        # NLE exposes the path of this file only if it also records every game.
        lines = Path(self._env.nethack._vardir, "xlogfile").read_text().splitlines()
        return dict(field.split("=", 1) for field in lines[-1].split("\t")) if lines else {}

    def _quit(self) -> None:
        """Leave prompts and menus, quit the game, and page through the final screens."""
        for key in [ESCAPE] * 5 + [QUIT, YES] + [SPACE, ESCAPE] * 20:
            _, done = self._env.nethack.step(key)
            if done:
                return

    def close(self) -> None:
        """Close the environment and remove its files."""
        self._env.close()


def enlist(halt: Any) -> None:
    """Initialize a worker process of a pool that plays games with experts.

    Args:
        halt: Shared bool. Once it is true, the games of this process raise `InterruptedError`. The process also ends
            when its parent does.
    """
    global _halt
    _halt = halt
    follow_parent()


def play_expert_game(expert: Expert, seed: int, character: str, max_steps: int | None) -> GameRow:
    """Play one game with an expert; the game and the player have the same seed.

    Raises:
        InterruptedError: The pool was halted.
    """
    player = expert.player(seed)
    game = SeededGame(seed, character, max_steps)
    try:
        row = None
        while row is None:
            if _halt is not None and _halt.value:
                raise InterruptedError(f"the game of seed {seed} was called off")
            # On the opening screens NLE presses the keys; the expert acts from the first turn on.
            row = game.step(0 if game.opening else player.act(game.observation))
        return row
    finally:
        game.close()
