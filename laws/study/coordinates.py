"""Coordinate check: how far the layers' outputs move in the first steps, against width (arXiv 2203.03466, appendix D).

By µP lines are flat; by the standard parametrisation they rise with width.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from matplotlib.figure import Figure

from agents.ladder import find
from agents.spec import Agent, Params
from data.common.cli import UserError
from data.common.files import replacing
from data.sampling.stream import batches
from data.spec import Batch
from data.store.reader import TrajectoryStore
from laws.figures.style import BLUE, GREEN, ORANGE, PURPLE, SKY, finish, log_axis, panels, plain, render
from train.config import Optimizer
from train.optimizer import bc_optimizer
from train.scaling import mup

Scaling = Literal["standard", "mup"]
LANES, WINDOW = 8, 16
COLOURS = (BLUE, ORANGE, GREEN, SKY, PURPLE)

CAPTION = "Root mean square of the layers' outputs, and of their change in a few steps, against the width of the core."


@dataclass(frozen=True)
class Line:
    """One layer by one scaling."""

    scaling: Scaling
    layer: str
    widths: tuple[int, ...]
    sizes: tuple[float, ...]
    """Root mean square of the output at initialisation."""
    changes: tuple[float, ...]
    """Root mean square of its change."""

    @property
    def slope(self) -> float:
        """Of ln change against ln width, by least squares."""
        return float(np.polyfit(np.log(self.widths), np.log(self.changes), 1)[0])


def coordinates(
    store: Path,
    *,
    agent: str = "nethack/lstm/64",
    widths: tuple[int, ...] = (32, 64, 128, 256, 512),
    steps: int = 4,
    lr: float = 3e-3,
    out: Path = Path("coordinates.png"),
) -> None:
    """Draw the coordinate check of an agent at several widths, by both scalings, and print the slopes.

    Example: `python -m laws coordinates --store STORE`

    Args:
        store: Store to learn from.
        agent: Name of the agent, of which other widths are made.
        widths: Widths of the core.
        steps: Optimiser steps, all on one batch.
        lr: Learning rate.
        out: The figure, a PNG.
    """
    opened = TrajectoryStore.open(store)
    found = find(agent, len(opened.manifest["actions"]), opened.codec.observation)
    if len(set(widths)) < 2 or steps < 1 or not lr > 0:
        raise UserError("--widths needs two, --steps and --lr more than 0")
    batch = next(batches(opened, "train", LANES, WINDOW, 0))
    lines = check(found, batch, widths, steps, lr)
    for line in lines:
        print(f"{line.scaling:10}{line.layer:12} change ~ width^{line.slope:+.2f}")
    with replacing(out) as scratch:
        scratch.write_bytes(render("coordinates", CAPTION, draw(lines, found.name, steps)).png)
    print(f"wrote {out}")


def check(agent: Agent, batch: Batch, widths: Sequence[int], steps: int, lr: float) -> list[Line]:
    """A line for each layer and scaling."""
    lines = []
    for scaling in get_args(Scaling):
        measured = [_measured(_of_width(agent, width), batch, scaling, steps, lr) for width in widths]
        for layer in measured[0]:
            sizes, changes = zip(*(of_width[layer] for of_width in measured), strict=True)
            lines.append(Line(scaling, layer, tuple(widths), sizes, changes))
    return lines


def draw(lines: Sequence[Line], name: str, steps: int) -> Figure:
    """Outputs at initialisation and their change, a panel each for both scalings."""
    figure, all_axes = panels(4, width=16.0, height=4.4)
    columns = [(scaling, what) for what in ("sizes", "changes") for scaling in get_args(Scaling)]
    titles = {"sizes": "output at initialisation", "changes": f"change in {steps} steps"}
    names = {"standard": "standard", "mup": "µP"}
    for axes, (scaling, what) in zip(all_axes, columns, strict=True):
        shown = [line for line in lines if line.scaling == scaling]
        for number, line in enumerate(shown):
            style = ("o-", "s--", "^:")[number // len(COLOURS) % 3]
            colour = COLOURS[number % len(COLOURS)]
            axes.plot(line.widths, getattr(line, what), style, ms=4, lw=1.4, color=colour, label=line.layer)
        log_axis(axes.xaxis, shown[0].widths, plain(), gap=0.12)
        log_axis(axes.yaxis, [y for line in lines for y in getattr(line, what)], plain())
        finish(axes, "Width of the core", "Root mean square", f"{names[scaling]}: {titles[what]}")
    figure.legend(handles=all_axes[0].get_lines(), loc="outside right center", fontsize=9, edgecolor="none")
    figure.suptitle(f"{name}: coordinate check", fontsize=12)
    return figure


def _of_width(agent: Agent, width: int) -> Agent:
    found = agent.of_width(width)
    if found is None:
        raise UserError(f"{agent.name} has one width only: choose another --agent")
    return found


def _measured(agent: Agent, batch: Batch, scaling: Scaling, steps: int, lr: float) -> dict[str, tuple[float, float]]:
    """By layer, root mean square of the output at initialisation and of its change in some steps on one batch."""
    config = Optimizer(lr=lr, scaling=scaling, schedule="constant", warmup_samples=0)
    optimizer = bc_optimizer(config, batch.mask.size, steps, agent)
    carry = agent.initial_carry(len(batch.mask))

    def outputs(params: Params) -> tuple[jax.Array, dict[str, jax.Array]]:
        found: dict[str, jax.Array] = {}

        def note(call: Any, args: Any, kwargs: Any, context: Any) -> Any:
            made = call(*args, **kwargs)
            if context.method_name == "__call__" and len(context.module.path) == 1:
                found[context.module.path[0]] = jax.tree.leaves(made)[0]
            return made

        with nn.intercept_methods(note):
            logits, _ = agent.apply(params, batch.observation, batch.first, carry)
        return optax.softmax_cross_entropy_with_integer_labels(logits, batch.action).mean(), found

    @jax.jit
    def step(params: Params, state: Any) -> tuple[Params, Any]:
        grads, _ = jax.grad(outputs, has_aux=True)(params)
        updates, state = optimizer.update(grads, state, params)
        return optax.apply_updates(params, updates), state

    key = jax.random.key(0)
    params = mup.init(agent, key) if scaling == "mup" else agent.init(key)
    state, look = optimizer.init(params), jax.jit(lambda params: outputs(params)[1])
    before = look(params)
    for _ in range(steps):
        params, state = step(params, state)
    after = look(params)
    return {name: (_rms(x), _rms(after[name] - x)) for name, x in before.items()}


def _rms(x: jax.Array) -> float:
    return float(jnp.sqrt((x.astype(jnp.float32) ** 2).mean()))
