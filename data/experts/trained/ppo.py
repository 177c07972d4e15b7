"""Policies that `python -m train rl` trained.

A folder of `config.json` (`kind` "ppo", `game`, `actions` by name, and more) and `policy`, the parameters of
`data.experts.trained.nature` as Orbax saved them.
"""

import json
from pathlib import Path

import numpy as np
import orbax.checkpoint as ocp
from absl import logging

from data.experts.trained import nature
from data.experts.trained.checkpoint import Checkpoint, Unfit, check, flat, paths, weights

CONFIG, POLICY, KIND = "config.json", "policy", "ppo"


def read(folder: Path) -> Checkpoint:
    """The network in a folder; raises `Unfit`."""
    game, actions = _config(folder / CONFIG)
    if not (folder / POLICY).is_dir():
        raise Unfit(f"it has no {POLICY} yet: let `python -m train rl` come to its end")
    names = {layer: layer for layer in nature.shapes(0)}
    expected = paths(nature.shapes(len(actions)), names)
    saved = str((folder / POLICY).resolve())
    # Orbax logs, with tracebacks, every error that it also raises.
    logging.set_verbosity(logging.FATAL)
    try:
        # What is there is asked first: loaded as something else, it would be cut or cast to that.
        told = ocp.v1.metadata(saved).metadata
        if not isinstance(told, dict):
            raise ValueError("no metadata")
        check(flat(told), expected, "the policy of `python -m train rl`")
        like = {
            layer: {part: np.empty(expected[f"{layer}/{part}"], np.float32) for part in ("kernel", "bias")}
            for layer in names
        }
        arrays = flat(ocp.v1.load(saved, like))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Unfit(f"its {POLICY} is damaged ({type(error).__name__}): copy it again, or train again") from error
    check(arrays, expected, "the policy of `python -m train rl`")
    return Checkpoint("IsoPlay PPO", "nature", weights(arrays, names), game, actions)


def _config(file: Path) -> tuple[str, tuple[str, ...]]:
    """Game and action set."""
    try:
        config = json.loads(file.read_bytes())
    except FileNotFoundError:
        raise Unfit(f"it has no {CONFIG}: give a folder that `python -m train rl` made") from None
    except (ValueError, RecursionError) as error:
        raise Unfit(f"its {CONFIG} is damaged: copy it again") from error
    match config:
        case {"kind": str(kind), "game": str(game), "actions": [*actions]} if kind == KIND:
            if all(isinstance(name, str) for name in actions):
                return game, tuple(actions)
    raise Unfit(f"its {CONFIG} tells of no trained policy: give a folder that `python -m train rl` made")
