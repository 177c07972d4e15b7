"""NetHack encoders of one dense layer each, over a crop and the text lines, for a CPU.

Shapes: S samples (lanes x steps), F features.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from agents.cost import Part, dense, elu, norm, of_data, relu, table
from agents.layers import Dense, FoldedDense, Table, layer_norm, look_ups
from agents.nethack.screen import MAP_ROWS, Cells, Inputs, ResNet, cells_cost, known, maybe_remat, resnet_cost
from agents.nethack.sight import BLOCK, BLOCK_COLUMNS, BLOCK_ROWS, CHARS, KINDS, crop, lines, wide_view
from agents.overrides import require
from data.spec import COLUMNS


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
