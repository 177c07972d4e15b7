"""The network of `data.experts.trained.nature` on blocks of frames, as fast to train as each device allows.

It gives what `nature.apply` gives. On a CPU its convolutions are matrix products over a few samples at a time, whose
operands stay in a core's cache: 2.6 times the samples per second of XLA's convolutions, gradients included.

N samples, P = 21 x 21 blocks of a frame, 64 = 4 frames x 4 rows x 4 columns, A actions.
"""

import math
from collections.abc import Callable
from functools import cache, partial

import jax
from jax.sharding import Mesh, PartitionSpec

from agents.atari.im2col import first_layer, layer
from data.experts.trained.nature import CONVOLUTIONS, Params, linear

Network = Callable[[Params, jax.Array], tuple[jax.Array, jax.Array]]
"""Of parameters and blocks uint8 [N, P, 64] of `agents.atari.im2col`: logits [N, A] and values [N], float32."""

MICROBATCH = 4
"""Samples whose convolutions a CPU does at once: of 2, 4, 8 and 16 the fastest."""


@cache
def make_network(mesh: Mesh) -> Network:
    """The network with the samples spread over the devices, which must divide them."""
    whole, samples = PartitionSpec(), PartitionSpec("data")
    apply = partial(actor_critic, im2col=jax.default_backend() == "cpu")
    # Unchecked, since the check would have gradients cross between the devices at every piece: they do so once.
    return jax.shard_map(apply, mesh=mesh, in_specs=(whole, samples), out_specs=(samples, samples), check_vma=False)


def actor_critic(params: Params, blocks_NxPx64: jax.Array, *, im2col: bool) -> tuple[jax.Array, jax.Array]:
    """A `Network` on one device; `im2col` computes convolutions as matrix products, for a CPU."""
    samples = len(blocks_NxPx64)
    convolutions = partial(_convolutions, params, im2col=im2col)
    if im2col:
        pieces = blocks_NxPx64.reshape(-1, math.gcd(samples, MICROBATCH), *blocks_NxPx64.shape[1:])
        x = jax.lax.map(convolutions, pieces)
    else:
        x = convolutions(blocks_NxPx64)
    x = jax.nn.relu(linear(params["hidden"], x.reshape(samples, -1)))
    return linear(params["actor"], x), linear(params["critic"], x)[:, 0]


def _convolutions(params: Params, blocks_NxPx64: jax.Array, *, im2col: bool) -> jax.Array:
    """What the last convolution gives, [N, 7, 7, 64]."""
    x = blocks_NxPx64
    for number, (_, _, stride) in enumerate(CONVOLUTIONS):
        kernel, bias = params[f"conv{number}"]["kernel"], params[f"conv{number}"]["bias"]
        x = layer(x, kernel, stride, im2col=im2col) if number else first_layer(x, kernel, im2col=im2col)
        x = jax.nn.relu(x + bias[None, None, None])
    return x
