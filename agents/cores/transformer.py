"""Llama-style transformer core: RMSNorm, rotary positions, SwiGLU, causal sliding-window attention.

Each step attends to itself and to the `context` steps before it in the same episode, in the window or in the carry (a
key-value cache), so that a step on its own sees the same keys as inside a window.
"""

from dataclasses import dataclass

import flax.linen as nn
import jax
import jax.numpy as jnp

from agents.cost import NOTHING, Part, dense, norm, table
from agents.layers import Dense, product, rms_norm
from agents.overrides import require
from data.common.cli import UserError

ROPE_BASE = 10_000.0
"""Base of the rotary wavelengths (Su et al., arXiv 2104.09864)."""


@dataclass(frozen=True)
class Transformer:
    """`layers` blocks of `width` features, attention heads of `head` features, a feed-forward layer of `4 * width`."""

    width: int
    layers: int
    head: int = 64
    context: int = 64
    """Number of earlier steps that a step attends to."""
    spare_row: bool = False
    """Whether to have an embedding of one row that is never read: the paper counts it in N."""

    kind = "transformer"

    def __post_init__(self) -> None:
        """Raise `UserError` if a size is out of range."""
        require(self, width=1, layers=1, head=2, context=1)
        if self.width % self.head or self.head % 2:
            raise UserError(f"head must be even and divide width, not {self.head} of {self.width}")

    def initial_carry(self, lanes: int, dtype: jnp.dtype) -> dict[str, jax.Array]:
        """Empty cache: keys and values [lanes, layers, context, heads, head], and which of them are valid."""
        cache = (lanes, self.layers, self.context, self.width // self.head, self.head)
        return {
            "keys": jnp.zeros(cache, dtype),
            "values": jnp.zeros(cache, dtype),
            "valid": jnp.zeros((lanes, self.context), bool),
        }

    def cost(self, window: int) -> Part:
        """Per sample; attention counts every score that is computed: `context` and the whole window.

        Backward, its products have a gradient for every key and value: those of the cache are data, but lie in one
        array with the window's, and theirs is dropped only afterwards.
        """
        d, keys = self.width, self.context + window
        products = Part(0, 4 * d * keys, 8 * d * keys)
        # Of the query and, once a window, of every key, 3 per feature.
        rotation = 3 * d * (1 + keys // window)
        # Scaling, masking and softmax.
        scores = (d // self.head) * keys
        attention = dense(d, d, bias=False) * 4 + products + Part(0, rotation + 6 * scores, rotation + 8 * scores)
        # SiLU (4 and 6 FLOPs) and the product; the two residual connections, and gradients that meet.
        feed = dense(d, 4 * d, bias=False) * 3 + Part(0, 4 * d * 5 + 2 * d, 4 * d * 8 + 5 * d)
        block = attention + feed + norm(d, bias=False) * 2
        return block * self.layers + norm(d, bias=False) + (table(1, d) if self.spare_row else NOTHING)

    def module(self, dtype: jnp.dtype, remat: bool = False) -> nn.Module:
        """The Flax module, from (x_BxTxD, first_BxT, carry) to (y_BxTxD, carry); `remat` recomputes each block."""
        return TransformerStack(self, dtype, remat, name="core")


class TransformerStack(nn.Module):
    """B lanes, T steps of the window, C steps of context, D = width."""

    config: Transformer
    dtype: jnp.dtype
    remat: bool = False

    @nn.compact
    def __call__(self, x_BxTxD: jax.Array, first_BxT: jax.Array, carry: dict[str, jax.Array]):
        """Outputs [B, T, D] and the carry after the window."""
        config = self.config
        if config.spare_row:
            self.param("spare_row", nn.initializers.normal(0.02), (1, config.width))
        mask_BxTxK, valid_BxC = _visible(first_BxT, carry["valid"])
        keys, values, kind = [], [], nn.remat(Block) if self.remat else Block
        for layer in range(config.layers):
            block = kind(config, self.dtype, name=f"layer{layer}")
            past = carry["keys"][:, layer], carry["values"][:, layer]
            x_BxTxD, k, v = block(x_BxTxD, mask_BxTxK, *past)
            keys.append(k)
            values.append(v)
        y_BxTxD = rms_norm(x_BxTxD, self.dtype, "norm")
        carry = {"keys": jnp.stack(keys, 1), "values": jnp.stack(values, 1), "valid": valid_BxC}
        return y_BxTxD, carry


class Block(nn.Module):
    """Attention over cache and window, then a gated feed-forward layer, each with a residual connection."""

    config: Transformer
    dtype: jnp.dtype

    @nn.compact
    def __call__(self, x_BxTxD: jax.Array, mask_BxTxK: jax.Array, past_k_BxCxHxE: jax.Array, past_v_BxCxHxE: jax.Array):
        """Outputs [B, T, D], the last C keys (before rotation) and the last C values."""
        config = self.config
        heads = (config.width // config.head, config.head)

        def project(name: str, x: jax.Array, width: int) -> jax.Array:
            return Dense(width, self.dtype, use_bias=False, name=name)(x)

        x = rms_norm(x_BxTxD, self.dtype, "attention_norm")
        q, k, v = (project(n, x, config.width).reshape(*x.shape[:2], *heads) for n in ("q", "k", "v"))
        k_BxKxHxE = jnp.concatenate([past_k_BxCxHxE, k], 1)
        v_BxKxHxE = jnp.concatenate([past_v_BxCxHxE, v], 1)
        position_K = jnp.arange(k_BxKxHxE.shape[1])
        rotated_k, rotated_q = _rotate(k_BxKxHxE, position_K), _rotate(q, position_K[config.context :])
        scores_BxHxTxK = product("bthe,bkhe->bhtk", jnp.float32, rotated_q, rotated_k)
        scores_BxHxTxK = scores_BxHxTxK / jnp.float32(config.head**0.5)
        weights = jax.nn.softmax(jnp.where(mask_BxTxK[:, None], scores_BxHxTxK, -jnp.inf)).astype(self.dtype)
        mixed = product("bhtk,bkhe->bthe", self.dtype, weights, v_BxKxHxE).reshape(x.shape)
        x_BxTxD = x_BxTxD + project("out", mixed, config.width)

        x = rms_norm(x_BxTxD, self.dtype, "feed_norm")
        gated = nn.silu(project("gate", x, 4 * config.width)) * project("up", x, 4 * config.width)
        x_BxTxD = x_BxTxD + project("down", gated, config.width)
        return x_BxTxD, k_BxKxHxE[:, -config.context :], v_BxKxHxE[:, -config.context :]


def _visible(first_BxT: jax.Array, valid_BxC: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Which of the K = C + T keys each step may see [B, T, K], and which of the last C stay valid [B, C]."""
    context, window = valid_BxC.shape[1], first_BxT.shape[1]
    episode_BxT = jnp.cumsum(first_BxT, axis=1, dtype=jnp.int32)
    past_BxC = jnp.where(valid_BxC, jnp.int32(0), jnp.int32(-1))
    episode_BxK = jnp.concatenate([past_BxC, episode_BxT], axis=1)
    distance_TxK = (context + jnp.arange(window))[:, None] - jnp.arange(context + window)[None, :]
    near_TxK = (distance_TxK >= 0) & (distance_TxK <= context)
    same_BxTxK = episode_BxT[:, :, None] == episode_BxK[:, None, :]
    return same_BxTxK & near_TxK[None], episode_BxK[:, -context:] == episode_BxT[:, -1:]


def _rotate(x_BxKxHxE: jax.Array, position_K: jax.Array) -> jax.Array:
    """Rotary embedding of x at the given positions, computed in float32."""
    half = x_BxKxHxE.shape[-1] // 2
    wavelength_F = jnp.power(jnp.float32(ROPE_BASE), -jnp.arange(half, dtype=jnp.float32) / jnp.float32(half))
    angle_KxF = position_K.astype(jnp.float32)[:, None] * wavelength_F[None]
    cos, sin = jnp.cos(angle_KxF)[None, :, None], jnp.sin(angle_KxF)[None, :, None]
    a, b = jnp.split(x_BxKxHxE.astype(jnp.float32), 2, axis=-1)
    return jnp.concatenate([a * cos - b * sin, b * cos + a * sin], axis=-1).astype(x_BxKxHxE.dtype)
