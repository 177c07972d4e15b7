"""A bot with the interface of AutoAscend's, and its habits: it swallows errors, and what it needs of NumPy is old."""

import os
from collections import namedtuple

import numpy as np
from nle import nethack

BLStats = namedtuple("BLStats", [f"stat{number}" for number in range(26)])
OLD = [vars(np)[name] for name in ("int", "float", "object", "str")]
"""Names that NumPy no longer has."""


class AgentFinished(Exception):
    """The game has ended."""


class Agent:
    def __init__(self, env, seed=0, verbose=False, panic_on_errors=False):
        self.env, self.rng, self.panic_on_errors = env, np.random.RandomState(seed), panic_on_errors
        self.habit, self.steps = os.environ.get("HABIT", ""), 0

    def step(self, key):
        action = nethack.ACTIONS[nethack.ACTIONS.index(ord(key))]
        observation, _, done, _ = self.env.step(action)
        observation = {name: array.copy() for name, array in observation.items()}
        BLStats(*observation["blstats"])
        assert observation["glyphs"].dtype == np.int16
        assert observation["tty_cursor"][0] - 1 < 24
        assert {"misc", "specials", "message", "inv_strs", "inv_oclasses", "inv_glyphs", "inv_letters"} <= set(
            observation
        )
        self.steps += 1
        if done and self.habit != "never notices the end":
            raise AgentFinished

    def main(self):
        while True:
            try:
                with self.env.debug_log("moves"), self.env.debug_tiles([], color=(255, 0, 0)):
                    if self.steps == 40 and self.habit == "waits forever":
                        while True:
                            pass
                    if self.steps == 40 and self.habit == "fails":
                        raise RuntimeError("Cyclic Panic")
                    if self.steps == 40 and self.habit == "leaves":
                        return
                    self.step(self.rng.choice(list("hjklyubns\x1b ")))
            except AgentFinished:
                return
            except (KeyboardInterrupt, RuntimeError):
                raise
            except BaseException:
                if not self.panic_on_errors:
                    raise
