"""What thin and deep NetHack encoders share: embedded map cells, and a ResNet over them.

Shapes: S samples (lanes x steps), Y rows, X columns, E features of an embedding.
"""

from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from agents.cost import NOTHING, Part, conv3x3, dense, elu, norm, table
from agents.cpu.im2col import max_pool
from agents.layers import Conv, Dense, Table, layer_norm, look_up, over_shards, product
from agents.nethack.sight import CHARS
from data.spec import COLUMNS

COLORS = 32
"""NLE's tty colours (16, twice for bold)."""
MAP_ROWS = 21
"""Rows 1 to 21 of the terminal are the map; row 0 is the message line, the last two are the status lines."""

Inputs = dict[str, jax.Array]


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


def maybe_remat(module_class: Any, remat: bool) -> Any:
    """The Flax module class, with its activations recomputed in the backward pass if `remat`."""
    return nn.remat(module_class) if remat else module_class


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
