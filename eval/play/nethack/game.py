"""One seeded NetHack game, shown as its recording would show it, and the row that it leaves."""

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
"""NetHackChallenge-v0's own limit on the steps of a game."""


def _recorded() -> np.ndarray:
    """Table uint8 [256] from a character on NLE's terminal to the same character in a recording.

    NLE's converter replaces the bytes of IBM line drawing; they reach the screen when a player types them
    into a text prompt.
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
"""Where NLE's `blstats` holds them."""

_halt: Any = None
"""In a pool's process, the shared flag that calls its games off."""

ACTION_OF_KEY: list[int] = action_of_key().tolist()

ESCAPE, SPACE, YES, QUIT = 27, ord(" "), ord("y"), 0x80 | ord("q")


@dataclass(frozen=True)
class GameRow:
    """A finished game of NetHack."""

    seed: int
    score: int
    """The return: final points, as NetHack's xlogfile (and so a recorded expert's episode) has them. They
    differ from `score_shown` by what the last action and the end itself give and take, such as a tenth of the
    gold on death."""
    score_shown: int
    """In-game score on the last screen that the player acted on: the sum of NLE's score rewards."""
    steps: int
    """Actions of the player."""
    turns: int
    """The game's own clock."""
    depth: int
    """Deepest dungeon level reached."""
    role: str
    """Three letters, for example `Mon`; empty where a random role left no xlogfile row."""
    death: str
    """The xlogfile's words, for example `killed by a jackal`; `quit` when the player or a limit ended the
    game; `unrecorded` when the game broke down and left no xlogfile row: `score` is then `score_shown`."""
    truncated: bool
    """Stopped by the limit on steps."""
    stalled: bool
    """Stopped by NetHackChallenge because the game's clock had stood still for too long."""


class Game:
    """A game of NetHackChallenge-v0 that is a function of its seed and of the actions.

    It shows what the player sees: `chars_24x80`, `colors_24x80`, `cursor_2` (uint8, good until the next step)
    and `prev_action`, by the observation spec.

    Every game gets an environment of its own, so nothing of an earlier game can reach it.
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
        """What a player sees, good until the next step."""
        return {"chars": self.chars_24x80, "colors": self.colors_24x80, "cursor": self.cursor_2}

    @property
    def opening(self) -> bool:
        """A screen is shown that NLE itself pages past before it lets the player act: any action goes.

        A recording has these screens too, and NLE's key press as the action.
        """
        return bool(self._opening)

    def _start(self) -> deque[tuple[np.ndarray, np.ndarray, np.ndarray, int]]:
        """Reset, and give what that paged past: characters, colours, cursor, and the key pressed on them."""
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
        """Take the action of this index and show what it did. The game's row when it is over."""
        if self._opening:
            key = self._opening.popleft()[3]
            self.prev_action = ACTION_OF_KEY[key]
            if self._opening:
                self._show(*self._opening[0][:3])
            else:
                self._look()
            return None
        with warnings.catch_warnings():
            # NLE gives up quitting in some prompts; `_end` then finishes it.
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
        """The game's xlogfile row; empty while there is none."""
        # NLE offers no public path to it unless it also records every game.
        lines = Path(self._env.nethack._vardir, "xlogfile").read_text().splitlines()
        return dict(field.split("=", 1) for field in lines[-1].split("\t")) if lines else {}

    def _quit(self) -> None:
        """Leave prompts and menus, quit, and page through the closing screens."""
        for key in [ESCAPE] * 5 + [QUIT, YES] + [SPACE, ESCAPE] * 20:
            _, done = self._env.nethack.step(key)
            if done:
                return

    def close(self) -> None:
        """Remove the game's files."""
        self._env.close()


def enlist(halt: Any) -> None:
    """Make this process one of a pool that plays experts' games until the shared `halt` is true or the parent ends."""
    global _halt
    _halt = halt
    follow_parent()


def play_expert_game(expert: Expert, seed: int, character: str, max_steps: int | None) -> GameRow:
    """The game of this seed, played by an expert of the same seed."""
    player = expert.player(seed)
    game = Game(seed, character, max_steps)
    try:
        row = None
        while row is None:
            if _halt is not None and _halt.value:
                raise InterruptedError(f"the game of seed {seed} was called off")
            # Experts join where NLE hands the game to its player.
            row = game.step(0 if game.opening else player.act(game.observation))
        return row
    finally:
        game.close()
