"""Policies that CleanRL's JAX scripts saved, `*.cleanrl_model`.

`flax.serialization.to_bytes([vars(args), [network, actor, critic]])` of `cleanba_ppo_envpool_machado_atari_wrapper`,
`ppo_atari_envpool_async_jax_scan_impalanet_machado`, `ppo_atari_envpool_xla_jax_scan` and their kin, in
github.com/vwxyzjn/cleanrl and github.com/vwxyzjn/cleanba: MessagePack, in which lists are maps from "0", "1" and so
on, and an array is an extension of type 1 that holds, packed again, its shape, the name of its type and its bytes.

The scripts named after Machado have 18 outputs, ALE's full action set, in every game.
"""

import re
from pathlib import Path
from typing import Any

import msgpack
import numpy as np

from data.experts.trained.checkpoint import Checkpoint, Unfit, actions_of, check, flat, paths, weights

_PARTS = ("network", "actor", "critic")
_ARRAY = 1
_LIMITS: Any = {"max_array_len": 1 << 10, "max_map_len": 1 << 10}
"""For an array of any length, memory is taken before its items are seen."""
_GAME = re.compile(r"(?:ALE/)?([A-Za-z0-9]+?)(?:NoFrameskip|Deterministic)?-v[0-9]+")

_IN_SEQUENCE = ("Conv_0", *(f"ResidualBlock_{block}/Conv_{number}" for block in range(2) for number in range(2)))
_CONVOLUTIONS = {
    "nature": tuple(f"Conv_{number}" for number in range(3)),
    "impala": tuple(f"ConvSequence_{sequence}/{name}" for sequence in range(3) for name in _IN_SEQUENCE),
}
_NAMES = {
    network: {f"conv{number}": f"network/{name}" for number, name in enumerate(convolutions)}
    | {"hidden": "network/Dense_0", "actor": "actor/Dense_0", "critic": "critic/Dense_0"}
    for network, convolutions in _CONVOLUTIONS.items()
}


def read(path: Path) -> Checkpoint:
    """The network in a file; raises `Unfit`."""
    from data.experts.trained import impala, nature

    told, arrays = _unpacked(path.read_bytes())
    residual = any("ConvSequence" in name for name in arrays)
    network, shapes_of = ("impala", impala.shapes) if residual else ("nature", nature.shapes)
    names = _NAMES[network]
    check(arrays, paths(shapes_of(actions_of(arrays, f"{names['actor']}/bias")), names), f"CleanRL's {network}")
    game = _GAME.fullmatch(told) if isinstance(told, str) else None
    return Checkpoint("CleanRL", network, weights(arrays, names), game[1] if game else None)


def _unpacked(data: bytes) -> tuple[Any, dict[str, Any]]:
    """The environment's name, None if it isn't told, and the arrays by their path."""
    try:
        saved = msgpack.unpackb(data, ext_hook=_array, **_LIMITS)
        told = saved["0"].get("env_id")
        arrays = flat({part: saved["1"][str(number)]["params"] for number, part in enumerate(_PARTS)})
    except (ValueError, LookupError, TypeError, AttributeError, RuntimeError, msgpack.UnpackException) as error:
        why = str(error)[:100] or type(error).__name__
        raise Unfit(f"damaged, or not saved by CleanRL's PPO in JAX ({why}): copy it again, or give another") from error
    return told, arrays


def _array(kind: int, data: bytes) -> Any:
    """An array of float32; anything else stays packed."""
    if kind == _ARRAY:
        shape, dtype, raw = msgpack.unpackb(data, raw=True, **_LIMITS)
        if dtype == b"float32":
            return np.frombuffer(raw, "<f4").reshape(shape)
    return msgpack.ExtType(kind, data)
