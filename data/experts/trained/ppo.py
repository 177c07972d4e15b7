"""Policies that `python -m train rl` trained.

A folder with `config.json` (`kind` "ppo", `game`, names of the `actions`, and more) and `policy.npz`, an uncompressed
NumPy archive of float32 arrays `LAYER/kernel` and `LAYER/bias` of `data.experts.trained.networks.nature`. Older
runs hold the same arrays in a folder `policy`, saved by Orbax.
"""

import json
import shutil
import tokenize
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from data.common.files import replacing
from data.common.torchfile import DAMAGE
from data.experts.trained.checkpoint import Checkpoint, Unfit, Weights, check, flat, paths, weights
from data.experts.trained.networks import nature_shapes

CONFIG, POLICY, ORBAX_POLICY, KIND = "config.json", "policy.npz", "policy", "ppo"
LARGEST = 1 << 26
"""Bytes of `policy.npz`; one of 18 actions has 6.8 million."""
_DAMAGE = (*DAMAGE, zlib.error, MemoryError, TypeError, SyntaxError, tokenize.TokenError)
"""What zipfile and NumPy raise on damaged bytes."""


def write(folder: Path, policy: Weights) -> None:
    """Write `policy.npz` atomically, and remove the Orbax folder of an older run.

    Raises: UserError: the folder can't be written to.
    """
    with replacing(folder / POLICY) as scratch, scratch.open("wb") as file:
        np.savez(file, **flat(policy))
    shutil.rmtree(folder / ORBAX_POLICY, ignore_errors=True)


def read(folder: Path) -> Checkpoint:
    """The network in a folder.

    Raises: Unfit: the folder holds no whole policy of `python -m train rl`.
    """
    game, actions = _config(folder / CONFIG)
    names = {layer: layer for layer in nature_shapes(0)}
    expected = paths(nature_shapes(len(actions)), names)
    of = "the policy of `python -m train rl`"
    if (folder / POLICY).is_file():
        arrays = _arrays(folder / POLICY)
    elif (folder / ORBAX_POLICY).is_dir():
        arrays = _orbax_arrays(folder / ORBAX_POLICY, expected, of)
    else:
        raise Unfit("it has no policy yet: let `python -m train rl` come to its end")
    check(arrays, expected, of)
    return Checkpoint("IsoPlay PPO", "nature", weights(arrays, names), game, actions)


def _arrays(path: Path) -> dict[str, Any]:
    """The arrays of an archive by name. Checks what it claims before memory is taken for it."""
    damaged = f"its {path.name} is damaged"
    try:
        if (size := path.stat().st_size) > LARGEST:
            raise Unfit(f"its {path.name} has {size:,} bytes, which no such policy has: train again")
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            stored = all(entry.compress_type == zipfile.ZIP_STORED for entry in entries)
            if not stored or sum(entry.file_size for entry in entries) > size:
                raise Unfit(f"{damaged} (its entries claim more bytes than it has): copy it again, or train again")
        with np.load(path, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except _DAMAGE as error:
        raise Unfit(f"{damaged} ({type(error).__name__}): copy it again, or train again") from error


def _orbax_arrays(folder: Path, expected: dict[str, tuple[int, ...]], of: str) -> dict[str, Any]:
    """The arrays of an older run. Imports Orbax, and JAX with it."""
    import orbax.checkpoint as ocp
    from absl import logging

    # Orbax logs every error that it also raises, with its traceback.
    logging.set_verbosity(logging.FATAL)
    try:
        # Check the metadata first: loading casts and cuts arrays to the dtypes and shapes that are asked for.
        saved = ocp.v1.metadata(str(folder.resolve())).metadata
        if not isinstance(saved, dict):
            raise ValueError("no metadata")
        check(flat(saved), expected, of)
        like: dict[str, dict[str, np.ndarray]] = {}
        for name, shape in expected.items():
            layer, part = name.split("/")
            like.setdefault(layer, {})[part] = np.empty(shape, np.float32)
        return flat(ocp.v1.load(str(folder.resolve()), like))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Unfit(f"its {folder.name} is damaged ({type(error).__name__}): copy it again, or train again") from error


def _config(file: Path) -> tuple[str, tuple[str, ...]]:
    """Game and action names."""
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
