"""The network of `agents.cnn`, as a Flax module."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from agents.cnn import CNN, LAYERS


class Convolutions(nn.Module):
    """Of N stacks of frames, their pixels scaled to [0, 1]."""

    config: CNN

    @nn.compact
    def __call__(self, frames_Nx84x84x4: jax.Array) -> jax.Array:
        """Logits [N, actions]."""
        x = frames_Nx84x84x4.astype(jnp.float32) / 255
        for number, (_, kernel, stride) in enumerate(LAYERS):
            features = self.config.channels[number + 1]
            layer = nn.Conv(features, (kernel, kernel), (stride, stride), "VALID", name=f"conv{number}")
            x = nn.relu(layer(x))
        return nn.Dense(self.config.actions, name="head")(x.reshape(len(x), -1))
