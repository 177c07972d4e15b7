"""Watch a checkpoint play NetHack in the terminal, with the policy's probabilities beside the screen."""

import shutil
from collections.abc import Iterator
from functools import partial
from types import SimpleNamespace
from typing import TextIO

import jax
import jax.numpy as jnp
import numpy as np

from agents.spec import Agent, Carry, Params
from data.common.cli import UserError
from data.games.challenge import CHARACTER
from data.games.keys import names
from data.spec import NETHACK
from data.view.nethack import TERMINAL, text
from data.view.play import show
from eval.checkpoints import load_checkpoint
from eval.config import EvalConfig
from eval.engine.game import ChallengeGame, recorded
from eval.play.options import PlayOptions
from eval.play.policy import choose
from eval.play.solo import TILE

PANEL, SHOWN, SPEED = 34, 20, 8.0
"""Columns of the panel, actions in it, and steps per second."""


def watch(config: EvalConfig, out: TextIO) -> None:
    """Show the game of the first seed, as evaluation plays it, of the largest checkpoint, to its end or Ctrl-C.

    Raises:
        UserError: There is no such run or budget, or several runs, it does not play NetHack, or `out` is no terminal or
            too small.
    """
    run, *others = config.runs
    if others:
        raise UserError("--watch shows the game of one run: name one")
    agent, params = load_checkpoint(run, max(config.budgets, default=None), config.compute, config.store)
    if not agent.name.startswith("nethack/"):
        raise UserError("only NetHack can be watched in the terminal")
    if not out.isatty():
        raise UserError("the output is not a terminal")
    size, (lines, columns) = shutil.get_terminal_size(), TERMINAL
    if size.columns < columns + PANEL or size.lines < lines:
        raise UserError(
            f"the terminal has {size.columns}x{size.lines} characters: enlarge it to {columns + PANEL}x{lines}"
        )
    show(film(agent, params, config.seed, config.options("nethack")), SPEED, out)


def film(agent: Agent, params: Params, seed: int, options: PlayOptions) -> Iterator[str]:
    """The screens of a game, each with the probabilities of the likeliest actions, and its result at the end."""
    game, labels = ChallengeGame(options.character or CHARACTER, options.max_steps), names()
    step = jax.jit(partial(_step, agent, options))
    carry, timestep, row = agent.initial_carry(TILE), 0, None
    game.start(seed)
    while row is None:
        seen = {**game.observation, "prev_action": np.uint8(game.prev_action)}
        observation = {name: np.repeat(np.asarray(seen[name])[None, None], TILE, axis=0) for name in NETHACK}
        action, probabilities, carry = step(params, observation, np.uint32(seed), np.uint32(timestep), carry)
        frame = SimpleNamespace(
            chars_Sx24x80=recorded(game.chars_24x80), colors_Sx24x80=game.colors_24x80, cursor_Sx2=game.cursor_2
        )
        caption = f"step {timestep:,}   {labels[int(action)]}"
        yield beside(text(frame, caption, NETHACK), panel(np.asarray(probabilities), labels, int(action)))  # pyright: ignore[reportArgumentType]
        row, timestep = game.step(int(action)), timestep + 1
    game.close()
    yield f"\x1b[2J{row.end}: {row.death}, score {row.score:,}, {row.turns:,} turns, deepest level {row.depth}\x1b[K"


def _step(
    agent: Agent,
    options: PlayOptions,
    params: Params,
    observation: dict[str, jax.Array],
    seed: jax.Array,
    timestep: jax.Array,
    carry: Carry,
) -> tuple[jax.Array, jax.Array, Carry]:
    first = jnp.full((TILE, 1), timestep == 0)
    logits, carry = agent.apply(params, observation, first, carry)
    seeds, timesteps = jnp.full(TILE, seed), jnp.full(TILE, timestep)
    actions = choose(options.sampling, jax.random.key(options.seed), seeds, timesteps, logits[:, 0])
    return actions[0], jax.nn.softmax(logits[0, 0]), carry


def panel(probabilities: np.ndarray, labels: list[str], chosen: int) -> list[str]:
    """Lines with the likeliest actions, their probabilities and bars; the chosen one is marked."""
    lines = []
    for action in np.argsort(-probabilities)[:SHOWN].tolist():
        bar = "#" * round(10 * float(probabilities[action]))
        mark = ">" if action == chosen else " "
        lines.append(f" {mark}{probabilities[action]:6.1%} {bar:10} {labels[action][:13]:13}")
    return lines


def beside(screen: str, lines: list[str]) -> str:
    """The lines of a screen with others to the right of them."""
    rows = screen.split("\r\n")
    right = [*lines, *[""] * (len(rows) - len(lines))]
    return "\r\n".join(f"{row}\x1b[{TERMINAL[1] + 1}G{line}\x1b[K" for row, line in zip(rows, right, strict=True))
