"""The network that PPO trains: `data.experts.trained.networks.nature` in JAX, on blocks of frames.

On a CPU its convolutions are matrix products over a few samples at a time: 2.6 times the samples per second of XLA's
convolutions, gradients included.

N samples, P = 21 x 21 blocks of a frame, 64 = 4 frames x 4 rows x 4 columns, A actions.
"""

from collections.abc import Callable
from functools import cache, partial

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, PartitionSpec

from agents.atari.convolutions import convolution, first_convolution
from agents.cpu.devices import on_cpu
from agents.cpu.microbatch import in_microbatches
from data.experts.trained.networks import NATURE_CONVOLUTIONS, nature_shapes

Layer = dict[str, jax.Array]
Params = dict[str, Layer]
"""As `data.experts.trained.checkpoint.Weights`."""

Network = Callable[[Params, jax.Array], tuple[jax.Array, jax.Array]]
"""From parameters and blocks uint8 [N, P, 64] (`convolutions.blocks_of`) to logits [N, A] and values [N], float32."""

MICROBATCH = 4
"""Samples whose convolutions a CPU computes at once: of 2, 4, 8 and 16 the fastest."""
_SCALES = {"actor": 0.01, "critic": 1.0}
"""Initial scale of a kernel, where it is not sqrt(2)."""


def init(key: jax.Array, actions: int) -> Params:
    """Orthogonal kernels, scaled by sqrt(2), of the actor by 0.01 and of the critic by 1; biases of 0."""
    shapes = nature_shapes(actions)
    params = {}
    for layer_key, (name, shape) in zip(jax.random.split(key, len(shapes)), shapes.items(), strict=True):
        kernel = jax.nn.initializers.orthogonal(_SCALES.get(name, 2**0.5))(layer_key, shape, jnp.float32)
        params[name] = {"kernel": kernel, "bias": jnp.zeros(shape[-1], jnp.float32)}
    return params


@cache
def make_network(mesh: Mesh) -> Network:
    """The network with samples sharded over the devices of `mesh`, whose number must divide N."""
    whole, samples = PartitionSpec(), PartitionSpec("data")
    apply = partial(actor_critic, im2col=on_cpu())
    # The check would have gradients cross between the devices at every microbatch instead of once.
    return jax.shard_map(apply, mesh=mesh, in_specs=(whole, samples), out_specs=(samples, samples), check_vma=False)


def actor_critic(params: Params, blocks_NxPx64: jax.Array, *, im2col: bool) -> tuple[jax.Array, jax.Array]:
    """A `Network` on one device; `im2col` computes convolutions as matrix products, for a CPU."""
    convolutions = partial(_convolutions, params, im2col=im2col)
    x = in_microbatches(convolutions, blocks_NxPx64, MICROBATCH) if im2col else convolutions(blocks_NxPx64)
    x = jax.nn.relu(_linear(params["hidden"], x.reshape(len(blocks_NxPx64), -1)))
    return _linear(params["actor"], x), _linear(params["critic"], x)[:, 0]


def _convolutions(params: Params, blocks_NxPx64: jax.Array, *, im2col: bool) -> jax.Array:
    """Output of the last convolution, [N, 7, 7, 64]."""
    x = blocks_NxPx64
    for number, (_, _, stride) in enumerate(NATURE_CONVOLUTIONS):
        kernel, bias = params[f"conv{number}"]["kernel"], params[f"conv{number}"]["bias"]
        if number == 0:
            x = first_convolution(x, kernel, kernel.dtype, im2col=im2col)
        else:
            x = convolution(x, kernel, stride, im2col=im2col)
        x = jax.nn.relu(x + bias[None, None, None])
    return x


def _linear(layer: Layer, x_NxC: jax.Array) -> jax.Array:
    return x_NxC @ layer["kernel"] + layer["bias"][None]
