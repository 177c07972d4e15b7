"""NetHack encoders: screens to one feature vector per step.

`Thin` encoders are dense layers over a crop and the text lines, for a CPU; `Deep` ones are the paper's (Tuyls et al.,
arXiv 2307.09423), with layer norms over channels in place of its batch norms: a policy is a pure function of its
parameters, and a step must give the same logits on its own as inside a window.

Shapes: S samples (lanes x steps), 24x80 the terminal, F features.
"""

from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from agents.cost import NOTHING, Part, conv, conv3x3, dense, elu, norm, of_data, relu, table
from agents.cpu.im2col import max_pool
from agents.layers import (
    Conv,
    Dense,
    Embedding,
    FoldedDense,
    Table,
    biased,
    layer_norm,
    look_up,
    look_ups,
    over_shards,
    product,
)
from agents.nethack.sight import BLOCK, BLOCK_COLUMNS, BLOCK_ROWS, CHARS, KINDS, crop, lines, wide_view
from agents.overrides import require
from data.spec import COLUMNS

COLORS = 32
"""NLE's tty colours (16, twice for bold)."""
MAP_ROWS = 21
"""Rows 1 to 21 of the terminal are the map; row 0 is the message line, the last two are the status lines."""
GLYPHS, SLOTS = 5977, 55
"""NLE's glyph numbers (`nle.nethack.MAX_GLYPH` and one for an empty slot) and inventory slots."""

Inputs = dict[str, jax.Array]


@dataclass(frozen=True)
class Thin:
    """Encoders of one dense layer each."""

    width: int
    """Features of each encoder."""
    cell: int = 4
    """Width of a map cell's embedding."""
    text: int = 4
    """Width of the embedding of a character in the text lines."""
    crop: int = 9
    """Side of the crop around the cursor, in cells."""
    view: bool = False
    """Whether to add the wide view: counts of each kind of cell in blocks around the cursor."""
    screen: int = 0
    """Channels of the screen ResNet's first stage; 0 for no screen ResNet."""
    norm: bool = True
    """Layer norm and ELU after each dense layer, as in the paper's encoders; otherwise ReLU, as before version 0.3."""

    counted = True

    @property
    def in_part(self) -> bool:
        """Whether it sees only part of the screen."""
        return not self.screen

    def __post_init__(self) -> None:
        """Raise `UserError` if a size is out of range."""
        require(self, width=1, cell=1, text=1, crop=1, screen=0)

    def parts(self) -> dict[str, Part]:
        """Cost by group, in the order of the features."""
        activation = norm(self.width) + elu(self.width) if self.norm else relu(self.width)
        parts = {
            "cells": cells_cost(self.cell, self.crop**2 + (MAP_ROWS * COLUMNS if self.screen else 0)),
            "text": table(CHARS, self.text, 3 * COLUMNS),
            "crop": dense(self.crop**2 * self.cell, self.width) + activation,
            "message": dense(COLUMNS * self.text, self.width) + activation,
            "status": dense(2 * COLUMNS * self.text, self.width) + activation,
        }
        if self.view:
            blocks = BLOCK_ROWS * BLOCK_COLUMNS * len(KINDS)
            # Besides the product, a comparison, a conversion and an addition for every cell and kind.
            counts = of_data(3 * BLOCK**2 * blocks)
            parts["view"] = counts + dense(blocks, self.width, data=True) + activation
        if self.screen:
            parts["screen"] = resnet_cost(self.cell, (self.screen, 2 * self.screen), (self.width,))
        return parts

    def features(self) -> int:
        """Width of all features together, without the previous action."""
        return self.width * (3 + self.view + (self.screen > 0))

    def module(self, dtype: jnp.dtype, remat: bool = False, platform: str | None = None) -> nn.Module:
        """The Flax module: inputs of S samples to features [S, F]; `remat` recomputes the screen ResNet's
        activations.

        `platform` is the backend to compute for, if any.
        """
        return ThinEncoders(self, dtype, remat, platform)


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


class ThinEncoders(nn.Module):
    """Dense layers over embedded cells and characters."""

    config: Thin
    dtype: jnp.dtype
    remat: bool = False
    platform: str | None = None

    @nn.compact
    def __call__(self, inputs: Inputs) -> jax.Array:
        """Features [S, F]."""
        config = self.config
        cells = Cells(config.cell, self.dtype, self.platform, name="cells")
        char, color = cells.tables()
        text = Table(CHARS, config.text, name="text")()

        chars, colors = (x.reshape(len(x), -1) for x in crop(inputs, config.crop))
        message, status = lines(inputs)
        cell = (char, chars), (color, known(colors))
        encoder = partial(Encoder, config.width, self.dtype, config.norm)
        if self.platform == "tpu":
            embedded = {"crop": cell, "message": ((text, message),), "status": ((text, status),)}
            features = [encoder(folded=True, name=name)(*pairs) for name, pairs in embedded.items()]
        else:
            pairs = *cell, (text, message), (text, status)
            of_char, of_color, of_message, of_status = look_ups(pairs, self.platform)
            embedded = {"crop": of_char + of_color, "message": of_message, "status": of_status}
            features = [encoder(name=name)(x.reshape(len(x), -1)) for name, x in embedded.items()]
        if config.view:
            view = wide_view(inputs)
            features.append(encoder(name="view")(view.reshape(len(view), -1)))
        if config.screen:
            channels = (config.screen, 2 * config.screen)
            resnet = maybe_remat(ResNet, self.remat)(
                channels, (config.width,), self.dtype, self.platform, name="screen"
            )
            features.append(resnet(cells(*(inputs[name][:, 1 : 1 + MAP_ROWS] for name in ("chars", "colors")))))
        return jnp.concatenate(features, axis=-1)


class Encoder(nn.Module):
    """A dense layer with its norm and activation."""

    width: int
    dtype: jnp.dtype
    norm: bool
    """Whether to apply a layer norm and ELU; otherwise ReLU."""
    folded: bool = False
    """Whether the layer is `FoldedDense`."""

    @nn.compact
    def __call__(self, *inputs: Any) -> jax.Array:
        """Features [S, width] of the dense layer's inputs."""
        dense = (FoldedDense if self.folded else Dense)(self.width, self.dtype, name="dense")
        # Its kernel and bias lie beside `norm`, where they were before there were norms.
        nn.share_scope(self, dense)
        x = dense(*inputs)
        return nn.elu(layer_norm(x, self.dtype, "norm")) if self.norm else nn.relu(x)


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


def maybe_remat(module_class: Any, remat: bool) -> Any:
    """The Flax module class, with its activations recomputed in the backward pass if `remat`."""
    return nn.remat(module_class) if remat else module_class


class Cells(nn.Module):
    """The sum of a character's and a colour's embedding."""

    width: int
    dtype: jnp.dtype
    platform: str | None

    def setup(self) -> None:
        """Name the tables."""
        self.char, self.color = Table(CHARS, self.width), Table(COLORS, self.width)

    def tables(self) -> tuple[jax.Array, jax.Array]:
        """The characters' [256, E] and the colours' [32, E], float32."""
        return self.char(), self.color()

    def __call__(self, chars: jax.Array, colors: jax.Array) -> jax.Array:
        """Embedded cells, one axis more than `chars`."""
        char, color = self.tables()
        embed = self._multiplied if self.platform == "tpu" else partial(look_up, platform=self.platform)
        return (embed(char, chars) + embed(color, known(colors))).astype(self.dtype)

    def _multiplied(self, rows: jax.Array, index: jax.Array) -> jax.Array:
        def of_shard(rows: jax.Array, index: jax.Array) -> jax.Array:
            # Samples come last, as XLA lays out what convolutions read. One axis, or it would make the one-hot array.
            index_YxXxS = jnp.moveaxis(index, 0, -1)
            one_hot = jax.nn.one_hot(index_YxXxS.reshape(-1), len(rows), dtype=self.dtype)
            cells = product("sn,ne->se", jnp.float32, one_hot, rows)
            return jnp.moveaxis(cells.reshape(*index_YxXxS.shape, -1), 2, 0)

        return over_shards(of_shard, rows, index)


def known(colors: jax.Array) -> jax.Array:
    """NLE's colours, those that the table lacks as its last."""
    return jnp.minimum(colors, COLORS - 1)


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


class ResNet(nn.Module):
    """Stages of a 3x3 convolution, a 3x3 max-pool of stride 2 and two residual blocks; then linear layers."""

    channels: tuple[int, ...]
    linear: tuple[int, ...]
    dtype: jnp.dtype
    platform: str | None

    @nn.compact
    def __call__(self, x_SxYxXxE: jax.Array) -> jax.Array:
        """Features [S, linear[-1]]."""
        x = x_SxYxXxE

        def unit(name: str, x: jax.Array, width: int) -> jax.Array:
            x = nn.elu(layer_norm(x, self.dtype, f"{name}_norm"))
            return Conv(width, (3, 3), self.dtype, platform=self.platform, name=name)(x)

        for stage, width in enumerate(self.channels):
            x = Conv(width, (3, 3), self.dtype, platform=self.platform, name=f"stage{stage}")(x)
            x = max_pool(x) if self.platform == "cpu" else nn.max_pool(x, (3, 3), strides=(2, 2), padding="SAME")
            for block in range(2):
                name = f"stage{stage}_block{block}"
                x = x + unit(f"{name}_conv1", unit(f"{name}_conv0", x, width), width)
        x = x.reshape(x.shape[0], -1)
        for layer, width in enumerate(self.linear):
            x = Dense(width, self.dtype, name=f"linear{layer}")(x)
            x = nn.elu(layer_norm(x, self.dtype, f"linear{layer}_norm"))
        return x


def cells_cost(width: int, cells: int) -> Part:
    """Embedding `cells` cells: 8 operations to find a cell's character and colour, then the sum of their embeddings."""
    return table(CHARS, width, cells) + table(COLORS, width, cells) + Part(0, cells * (6 + width), 0)


def resnet_cost(inputs: int, channels: tuple[int, ...], linear: tuple[int, ...]) -> Part:
    """Cost of `ResNet` over the map rows."""
    rows, columns, cost = MAP_ROWS, COLUMNS, NOTHING
    for width in channels:
        cost += conv3x3(inputs, width, rows, columns)
        rows, columns, inputs = -(-rows // 2), -(-columns // 2), width
        features = rows * columns * width
        # Of 9 numbers the largest; backward, it is found again and its gradient added.
        cost += Part(0, 8 * features, 9 * features)
        unit = elu(features) + conv3x3(width, width, rows, columns) + norm(width, rows * columns)
        residual = Part(0, features, features)
        cost += unit * 4 + residual * 2
    inputs *= rows * columns
    for width in linear:
        cost += dense(inputs, width) + norm(width) + elu(width)
        inputs = width
    return cost
