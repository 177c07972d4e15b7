"""The encoders of the paper (Tuyls et al., arXiv 2307.09423).

Their batch norms are layer norms over channels here: a policy is a pure function of its parameters, and a step must
give the same logits on its own as inside a window.

Shapes: S samples (lanes x steps), 24x80 the terminal, F features.
"""

from dataclasses import dataclass
from itertools import pairwise

import flax.linen as nn
import jax
import jax.numpy as jnp

from agents.cost import NOTHING, Part, conv, conv3x3, dense, elu, norm, table
from agents.layers import Conv, Dense, Embedding, Table, biased, layer_norm, look_up, product
from agents.nethack.screen import MAP_ROWS, Cells, Inputs, ResNet, cells_cost, maybe_remat, resnet_cost
from agents.nethack.sight import CHARS, crop, lines
from data.spec import COLUMNS

GLYPHS, SLOTS = 5977, 55
"""NLE's glyph numbers (`nle.nethack.MAX_GLYPH` and one for an empty slot) and inventory slots."""


@dataclass(frozen=True)
class Deep:
    """The paper's encoders, the same at every size."""

    inventory: bool = False
    """Whether to read the inventory's 55 glyphs, which ordinary recordings do not hold."""

    counted = False
    cell = 16
    crop = 9

    def parts(self) -> dict[str, Part]:
        """Cost by group."""
        crop_channels = (self.cell, 16, 16, 16, 16, 8)
        crop = NOTHING
        for inputs, outputs in pairwise(crop_channels):
            crop += conv3x3(inputs, outputs, self.crop, self.crop)
            crop += norm(outputs, self.crop**2) + elu(outputs * self.crop**2)
        # The embedded characters of the line are summed.
        message = table(COLUMNS * CHARS, 64, COLUMNS) + Part(64, COLUMNS * 64, 64) + dense(64, 64)
        status = conv(8 * 39, 8, 2, 32, 39, data=True) + elu(39 * 32) + conv(4 * 36, 4, 32, 64, 36) + elu(36 * 64)
        status += dense(36 * 64, 128) + dense(128, 128)
        parts = {
            "cells": cells_cost(self.cell, self.crop**2 + MAP_ROWS * COLUMNS),
            "crop": crop,
            "message": message + (norm(64) + elu(64)) * 2,
            "status": status + (norm(128) + elu(128)) * 2,
            "screen": resnet_cost(self.cell, (16, 32), (512, 512)),
        }
        if self.inventory:
            parts["inventory"] = table(GLYPHS, 32, SLOTS) + dense(SLOTS * 32, 256) + norm(256) + elu(256)
        return parts

    def features(self) -> int:
        """Width of all features together, without the previous action."""
        return 8 * self.crop**2 + 64 + 128 + 512 + (256 if self.inventory else 0)

    def module(self, dtype: jnp.dtype, remat: bool = False, platform: str | None = None) -> nn.Module:
        """The Flax module: inputs of S samples to features [S, F]; `remat` recomputes each encoder's activations.

        `platform` is the backend to compute for, if any.
        """
        return DeepEncoders(self, dtype, remat, platform)


class DeepEncoders(nn.Module):
    """The paper's encoders."""

    config: Deep
    dtype: jnp.dtype
    remat: bool = False
    platform: str | None = None

    @nn.compact
    def __call__(self, inputs: Inputs) -> jax.Array:
        """Features [S, F]."""
        config, dtype = self.config, self.dtype
        cells = Cells(config.cell, dtype, self.platform, name="cells")
        near = cells(*crop(inputs, config.crop))
        message, status = lines(inputs)
        features = [
            maybe_remat(Message, self.remat)(dtype, self.platform, name="message")(message),
            maybe_remat(Status, self.remat)(dtype, name="status")(status),
            maybe_remat(ResNet, self.remat)((16, 32), (512, 512), dtype, self.platform, name="screen")(
                cells(*(inputs[name][:, 1 : 1 + MAP_ROWS] for name in ("chars", "colors")))
            ),
            maybe_remat(Crop, self.remat)(dtype, self.platform, name="crop")(near),
        ]
        if config.inventory:
            features.append(maybe_remat(Inventory, self.remat)(dtype, name="inventory")(inputs["inventory"]))
        return jnp.concatenate(features, axis=-1)


class Crop(nn.Module):
    """Five 3x3 convolutions over the cells around the cursor."""

    dtype: jnp.dtype
    platform: str | None

    @nn.compact
    def __call__(self, x_SxYxXxE: jax.Array) -> jax.Array:
        """Features [S, 8 * Y * X]."""
        for layer, channels in enumerate((16, 16, 16, 16, 8)):
            x_SxYxXxE = Conv(channels, (3, 3), self.dtype, platform=self.platform, name=f"conv{layer}")(x_SxYxXxE)
            x_SxYxXxE = nn.elu(layer_norm(x_SxYxXxE, self.dtype, f"norm{layer}"))
        return x_SxYxXxE.reshape(x_SxYxXxE.shape[0], -1)


class Message(nn.Module):
    """Two linear layers over the top line; the first, over one-hot characters, is computed as a sum of embeddings."""

    dtype: jnp.dtype
    platform: str | None

    @nn.compact
    def __call__(self, line_SxC: jax.Array) -> jax.Array:
        """Features [S, 64]."""
        rows = Table(COLUMNS * CHARS, 64, COLUMNS**-0.5, name="linear0")()
        if self.platform == "tpu":
            one_hot = jax.nn.one_hot(line_SxC, CHARS, dtype=self.dtype)
            x = product("scn,cno->so", jnp.float32, one_hot, rows.reshape(COLUMNS, CHARS, -1))
        else:
            place = jnp.arange(COLUMNS, dtype=jnp.int32) * jnp.int32(CHARS)
            x = look_up(rows, line_SxC.astype(jnp.int32) + place[None], self.platform).sum(axis=1)
        bias = self.param("bias0", nn.initializers.zeros, (64,))
        x = biased(x, bias, self.dtype)
        x = nn.elu(layer_norm(x, self.dtype, "norm0"))
        x = Dense(64, self.dtype, name="linear1")(x)
        return nn.elu(layer_norm(x, self.dtype, "norm1"))


class Status(nn.Module):
    """Convolutions over the bottom lines as two channels: scaled characters, and scaled digits (0 elsewhere)."""

    dtype: jnp.dtype

    @nn.compact
    def __call__(self, lines_SxC: jax.Array) -> jax.Array:
        """Features [S, 128]."""
        char = lines_SxC.astype(jnp.float32)
        zero, nine = jnp.float32(ord("0")), jnp.float32(ord("9"))
        digit = jnp.where((char >= zero) & (char <= nine), (char - zero) / jnp.float32(10), jnp.float32(0))
        x = jnp.stack([char / jnp.float32(CHARS), digit], axis=-1).astype(self.dtype)
        x = nn.elu(Conv(32, (8,), self.dtype, stride=4, padding="VALID", name="conv0")(x))
        x = nn.elu(Conv(64, (4,), self.dtype, padding="VALID", name="conv1")(x))
        x = x.reshape(x.shape[0], -1)
        for layer in range(2):
            x = Dense(128, self.dtype, name=f"linear{layer}")(x)
            x = nn.elu(layer_norm(x, self.dtype, f"norm{layer}"))
        return x


class Inventory(nn.Module):
    """A linear layer over the embedded glyphs of the inventory."""

    dtype: jnp.dtype

    @nn.compact
    def __call__(self, glyphs_SxI: jax.Array) -> jax.Array:
        """Features [S, 256]."""
        x = Embedding(GLYPHS, 32, name="glyph")(glyphs_SxI)
        x = Dense(256, self.dtype, name="linear")(x.reshape(x.shape[0], -1))
        return nn.elu(layer_norm(x, self.dtype, "norm"))
