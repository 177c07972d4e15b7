"""Policies that CleanRL's JAX scripts saved, `*.cleanrl_model`.

`flax.serialization.to_bytes([vars(args), [network, actor, critic]])` of `cleanba_ppo_envpool_machado_atari_wrapper`,
`ppo_atari_envpool_async_jax_scan_impalanet_machado`, `ppo_atari_envpool_xla_jax_scan` and the like, in
github.com/vwxyzjn/cleanrl and github.com/vwxyzjn/cleanba. Flax saves lists as maps with the keys "0", "1" and so on.

The scripts named after Machado have 18 outputs, ALE's full action set, in every game.
"""

import warnings
from pathlib import Path
from typing import Any

from data.experts.trained.checkpoint import Checkpoint, Unfit, actions_of, check, flat, paths, weights
from data.experts.trained.networks import NETWORKS
from data.games.atari import game_of

_PARTS = ("network", "actor", "critic")
_DAMAGE = (ValueError, LookupError, TypeError, AttributeError, RuntimeError, AssertionError, SyntaxError, MemoryError)
"""What `msgpack_restore` raises on bytes that Flax did not save, and what looking into its result raises."""
_OTHERS = {frozenset({"params"}): "DQN", frozenset({"model_weights", "args"}): "C51"}
"""Scripts that save one network, by the names at the top of their files."""
_INSTEAD = "give one that a PPO script in JAX saved"

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
    """The network in a file. Imports Flax, and JAX with it.

    Raises: Unfit: the file is damaged, or another network's.
    """
    env_id, arrays = _unpacked(path.read_bytes())
    network = "impala" if any("ConvSequence" in name for name in arrays) else "nature"
    names = _NAMES[network]
    shapes = NETWORKS[network].shapes(actions_of(arrays, f"{names['actor']}/bias"))
    check(arrays, paths(shapes, names), f"CleanRL's {network}")
    game = game_of(env_id) if isinstance(env_id, str) else None
    return Checkpoint("CleanRL", network, weights(arrays, names), game)


def _unpacked(data: bytes) -> tuple[Any, dict[str, Any]]:
    """The environment's id, None if the file has none, and the arrays by path."""
    from flax.serialization import msgpack_restore

    try:
        with warnings.catch_warnings(action="ignore"):  # NumPy warns of some strange names of dtypes
            saved: Any = msgpack_restore(data)
        for keys, what in _OTHERS.items():
            if keys == saved.keys():
                raise Unfit(f"CleanRL's {what}, which has values of actions and no probabilities: {_INSTEAD}")
        env_id = saved["0"].get("env_id")
        arrays = flat({part: saved["1"][str(number)]["params"] for number, part in enumerate(_PARTS)})
    except _DAMAGE as error:
        why = str(error)[:100] or type(error).__name__
        raise Unfit(f"damaged, or not saved by CleanRL's PPO in JAX ({why}): copy it again, or give another") from error
    return env_id, arrays
