"""Trained policies as experts: weights from the files of several trainers, actions sampled from the logits.

A policy plays by NumPy alone; reading a CleanRL file or an Orbax folder imports JAX, nothing else does.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from data.common.cli import UserError
from data.experts.trained.checkpoint import PIXELS, Checkpoint, Unfit, Weights
from data.experts.trained.networks import NETWORKS
from data.games import atari

LARGEST = 1 << 28
"""Bytes of a file; the largest in public model zoos have 30 million."""
_FORMATS = "a folder of `python -m train rl`, a CleanRL *.cleanrl_model saved by JAX, or a zip by Stable-Baselines3"


@dataclass(frozen=True)
class Policy:
    """A network that was trained on a game."""

    maker: str
    """The library that saved it."""
    network: str
    """Name in `data.experts.trained.networks.NETWORKS`."""
    actions: tuple[str, ...]
    """Names of the actions, in the order of the logits."""
    weights: Weights
    digest: str
    """SHA-256 of network and weights."""
    divisor: float = PIXELS
    """What it divides pixels by."""

    @property
    def name(self) -> str:
        """Maker, network and the first digits of the digest."""
        return f"{self.maker} {self.network} {self.digest[:12]}"


def load(path: Path, game: str) -> Policy:
    """The policy in a file or folder.

    Raises: UserError: `path` holds no policy, or one of another game.
    """
    atari.content(game)
    try:
        found = _read(path)
        actions = _actions(found, game)
        return Policy(found.maker, found.network, actions, found.weights, digest(found), found.divisor)
    except Unfit as error:
        raise UserError(f"{path}: {error}") from error
    except OSError as error:
        raise UserError(f"{path} can't be read ({error.strerror}): give {_FORMATS}") from error


def digest(found: Checkpoint) -> str:
    """SHA-256 of the network's name, and of the names and bytes of its arrays (whose shapes follow from the names).

    A divisor of pixels other than 255 counts too.
    """
    sha = hashlib.sha256(found.network.encode())
    if found.divisor != PIXELS:
        sha.update(f"pixels / {found.divisor:g}".encode())
    for layer, arrays in sorted(found.weights.items()):
        for part, array in sorted(arrays.items()):
            sha.update(f"{layer}/{part}".encode())
            sha.update(np.ascontiguousarray(array, "<f4").tobytes())
    return sha.hexdigest()


def players(policy: Policy) -> Callable[[int], "SampledPlayer"]:
    """A function that makes the player of a game's seed; the players share the network."""
    apply = NETWORKS[policy.network].apply
    return partial(SampledPlayer, lambda stacks: apply(policy.weights, stacks, policy.divisor)[0])


class SampledPlayer:
    """Plays one game by actions sampled from the softmax of the logits; a function of `seed` and of the frames."""

    def __init__(self, logits: Callable[[np.ndarray], np.ndarray], seed: int) -> None:
        """`logits` maps stacks uint8 [N, 84, 84, 4] to float32 [N, actions]."""
        self._logits, self._random = logits, np.random.default_rng(seed)

    def act(self, stack_84x84x4: np.ndarray) -> int:
        """The action for the last four frames, uint8, newest last."""
        [logits] = self._logits(stack_84x84x4[None])
        # The Gumbel-max trick: the argmax of logits plus Gumbel noise is distributed as their softmax.
        return int(np.argmax(logits + self._random.gumbel(size=len(logits))))


def _read(path: Path) -> Checkpoint:
    """Read a path; its first bytes tell the format."""
    if path.is_dir():
        from data.experts.trained import ppo

        return ppo.read(path)
    if not path.is_file():
        raise Unfit(f"not a plain file: give {_FORMATS}")
    with path.open("rb") as file:
        start = file.read(4)
    if (size := path.stat().st_size) > LARGEST:
        raise Unfit(f"{size:,} bytes, which no policy of an Atari game has: give {_FORMATS}")
    if start.startswith(b"PK\x03\x04"):
        from data.experts.trained import sb3

        return sb3.read(path)
    if start.startswith(b"\x80\x02\x8a\x0a"):
        raise Unfit(f"saved by PyTorch before 1.6, or in its old format: give {_FORMATS}")
    if start.startswith((b"\x81", b"\x82")):  # a map of one or two entries
        from data.experts.trained import cleanrl

        return cleanrl.read(path)
    raise Unfit(f"of unknown format: give {_FORMATS}")


def _actions(found: Checkpoint, game: str) -> tuple[str, ...]:
    """The actions of a checkpoint: the game's minimal action set, or ALE's full one."""
    if found.game not in (None, game):
        raise Unfit(f"it was trained on {found.game}, not {game}: give --game {found.game} or another policy")
    count = len(found.weights["actor"]["bias"])
    try:
        actions = atari.content(game, count).actions
    except UserError as error:
        sets = f"{game} has {len(atari.content(game).actions)}, or 18 in all"
        raise Unfit(f"it plays by {count} actions and {sets}: give the --game it was trained on") from error
    if found.actions not in (None, actions):
        raise Unfit(f"its actions are not those of {game} ({', '.join(map(str, actions))}): train it again")
    return tuple(map(str, actions))
