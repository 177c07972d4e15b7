"""Layers that compute in a given dtype, such as bfloat16, and sum in float32.

A bfloat16 number has 8 significant bits: 256 + 1 is 256. Differentiating a bfloat16 layer the plain way sums gradients
of tables, biases and scan constants over all samples in bfloat16, so that they stall. Here products accumulate in
float32, and parameters enter a computation as float32, so that their gradients are summed in float32. With dtype
float32 the layers compute what Flax's do; names, shapes and initial values of the parameters of `Dense`, `Conv` and the
norms are Flax's.
"""

from collections.abc import Callable, Sequence
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.custom_derivatives import CustomVJPPrimal
from jax.sharding import AxisType, PartitionSpec
from jax.typing import DTypeLike

from agents.cpu.im2col import same_3x3

_COPIES, _BYTES_OF_COPIES = 256, 2**22
"""Most copies of a table, and most bytes of all of them: a part of a GPU's L2 cache."""

Residuals = tuple[jax.Array, jax.Array, tuple[()] | None]


def product(spec: str, out: DTypeLike, a: jax.Array, b: jax.Array) -> jax.Array:
    """`jnp.einsum(spec, a, b)` in the dtype of `a`, accumulated in float32 and rounded once, to dtype `out`.

    `spec` names every axis, and each in two of the three arrays. The gradient with respect to `b`, for example a
    float32 kernel, is accumulated in float32 and has `b`'s dtype; autodiff would round it to the dtype of `a`.
    """
    return _product(spec, out, a, b)  # pyright: ignore[reportReturnType]


@partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _product(spec: str, out: DTypeLike, a: jax.Array, b: jax.Array) -> jax.Array:
    return jnp.einsum(spec, a, b.astype(a.dtype), preferred_element_type=out)


def _forward(spec: str, out: DTypeLike, a: CustomVJPPrimal, b: CustomVJPPrimal) -> tuple[jax.Array, Residuals]:
    return product(spec, out, a.value, b.value), (a.value, b.value, () if a.perturbed else None)


def _backward(
    spec: str, out: DTypeLike, residuals: Residuals, gradient: jax.Array
) -> tuple[jax.Array | None, jax.Array]:
    a, b, wanted = residuals
    inputs, output = spec.split("->")
    left, right = inputs.split(",")
    gradient = gradient.astype(a.dtype)
    # Of data no gradient is asked for.
    of_a = None if wanted is None else jnp.einsum(f"{output},{right}->{left}", gradient, b.astype(a.dtype))
    return of_a, jnp.einsum(f"{output},{left}->{right}", gradient, a, preferred_element_type=b.dtype)


_product.defvjp(_forward, _backward, symbolic_zeros=True)


def biased(x: jax.Array, bias: jax.Array, out: DTypeLike) -> jax.Array:
    """`x` plus a float32 bias of its last axis, added in float32 (so is the bias's gradient), in dtype `out`."""
    x = x.astype(jnp.float32)
    return (x + bias.reshape((1,) * (x.ndim - 1) + bias.shape)).astype(out)


def layer_norm(x: jax.Array, dtype: jnp.dtype, name: str) -> jax.Array:
    """`nn.LayerNorm` over the last axis, computed in float32, in `dtype`."""
    return nn.LayerNorm(dtype=jnp.float32, name=name)(x.astype(jnp.float32)).astype(dtype)


def rms_norm(x: jax.Array, dtype: jnp.dtype, name: str) -> jax.Array:
    """`nn.RMSNorm` over the last axis, computed in float32, in `dtype`."""
    return nn.RMSNorm(dtype=jnp.float32, name=name)(x.astype(jnp.float32)).astype(dtype)


class Dense(nn.Module):
    """A linear layer over the last axis; parameters as of `nn.Dense`."""

    features: int
    dtype: jnp.dtype
    """Dtype of the product."""
    use_bias: bool = True
    out: DTypeLike | None = None
    """Dtype of the output, if not `dtype`: float32 for logits."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """[..., features] in dtype `out`."""
        kernel = self.param("kernel", nn.initializers.lecun_normal(), (x.shape[-1], self.features))
        axes = "abcdefgh"[: x.ndim - 1]
        out = self.out or self.dtype
        y = product(f"{axes}i,io->{axes}o", out, x.astype(self.dtype), kernel)
        if not self.use_bias:
            return y
        return biased(y, self.param("bias", nn.initializers.zeros_init(), (self.features,)), out)


class Conv(nn.Module):
    """A convolution over one or two axes, channels last; parameters as of `nn.Conv`."""

    features: int
    kernel_size: tuple[int, ...]
    dtype: jnp.dtype
    """Dtype of the convolution and of the output."""
    stride: int = 1
    padding: str = "SAME"
    platform: str | None = None
    """The backend to compute for, if any. On a CPU a 3x3 convolution that keeps the size is `same_3x3`."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """[N, ..., features]."""
        shape = (*self.kernel_size, x.shape[-1], self.features)
        kernel = self.param("kernel", nn.initializers.lecun_normal(), shape)
        bias = self.param("bias", nn.initializers.zeros_init(), (self.features,))
        if self.platform == "cpu" and (self.kernel_size, self.stride, self.padding) == ((3, 3), 1, "SAME"):
            return biased(same_3x3(x.astype(self.dtype), kernel.astype(self.dtype)), bias, self.dtype)
        space = "HW"[: len(self.kernel_size)]
        layout = jax.lax.conv_dimension_numbers(x.shape, shape, (f"N{space}C", f"{space}IO", f"N{space}C"))
        y = jax.lax.conv_general_dilated(
            x.astype(self.dtype),
            kernel.astype(self.dtype),
            (self.stride,) * len(self.kernel_size),
            self.padding,
            dimension_numbers=layout,
        )
        return biased(y, bias, self.dtype)


class Table(nn.Module):
    """Rows of an embedding table."""

    rows: int
    width: int
    scale: float = 1.0
    """Standard deviation of the entries at initialisation."""

    @nn.compact
    def __call__(self) -> jax.Array:
        """The table, float32 [rows, width]."""
        return self.param("rows", nn.initializers.normal(self.scale), (self.rows, self.width))


class Embedding(nn.Module):
    """Embedding of indices; parameters as of `Table`. Indices must be in range; they are not checked."""

    rows: int
    width: int
    scale: float = 1.0
    """Standard deviation of the table's entries at initialisation."""

    @nn.compact
    def __call__(self, index: jax.Array) -> jax.Array:
        """The embedded `index`, float32, one axis more.

        Cast after the look-up, so that a row's gradient is a float32 sum.
        """
        rows = self.param("rows", nn.initializers.normal(self.scale), (self.rows, self.width))
        return look_up(rows, index)


def look_up(rows: jax.Array, index: jax.Array, platform: str | None = None) -> jax.Array:
    """The rows of a table [N, E] at `index`, which must be in range: [..., E].

    On the `platform` GPU from several copies of the table, in turn. A gradient is added to a row by atomic operations,
    of which those on one address wait for each other, and most cells of a screen are the same: with copies it takes a
    fifth of the time, of the paper's map cells a sixteenth (H100).
    """
    copies = min(_COPIES, _BYTES_OF_COPIES // rows.nbytes, index.size // len(rows)) if platform == "gpu" else 1
    if copies <= 1:
        return rows.at[index].get(mode="promise_in_bounds")
    turn = (jnp.arange(index.size, dtype=jnp.int32) % copies).reshape(index.shape)
    of_copies = jnp.broadcast_to(rows, (copies, *rows.shape))
    return of_copies.at[turn, index.astype(jnp.int32)].get(mode="promise_in_bounds")


def look_ups(pairs: Sequence[tuple[jax.Array, jax.Array]], platform: str | None = None) -> list[jax.Array]:
    """`look_up` of several pairs of a table [N, E] and indices [S, P]: of each [S, P, E].

    On a GPU, tables of one width are looked up at once, since a kernel takes longer to launch than to run.
    """
    if platform != "gpu" or len({rows.shape[1] for rows, _ in pairs}) > 1:
        return [look_up(*pair, platform) for pair in pairs]
    before = np.cumsum([0, *(len(rows) for rows, _ in pairs[:-1])])
    index = [index.astype(jnp.int32) + jnp.int32(start) for (_, index), start in zip(pairs, before, strict=True)]
    found = look_up(jnp.concatenate([rows for rows, _ in pairs]), jnp.concatenate(index, axis=1), platform)
    return jnp.split(found, np.cumsum([part.shape[1] for part in index[:-1]]), axis=1)


def over_shards(
    function: Callable[[jax.Array, jax.Array], jax.Array], params: jax.Array, samples: jax.Array
) -> jax.Array:
    """`function(params, samples)`, computed by each device for its part of the leading axis of `samples`.

    If the samples are sharded over an axis of the mesh in context that is left to XLA (`train.step`), XLA would gather
    all of them wherever they stop being the leading axis.
    """
    mesh = jax.sharding.get_abstract_mesh()
    axes = tuple(name for name, kind in zip(mesh.axis_names, mesh.axis_types, strict=True) if kind == AxisType.Auto)
    if not axes:
        return function(params, samples)
    whole, parts = PartitionSpec(), PartitionSpec(axes)
    shards = jax.shard_map(function, in_specs=(whole, parts), out_specs=parts, axis_names=set(axes), check_vma=False)
    return shards(params, samples)


class FoldedDense(nn.Module):
    """`Dense` over the embeddings of P symbols, one after the other; parameters as of `Dense`.

    One-hot symbols are multiplied with the product of tables and kernel, as is best on a TPU: it pads the few features
    of an embedding to 128, and gathers and scatters row by row. XLA never makes the one-hot array.
    """

    features: int
    dtype: jnp.dtype

    @nn.compact
    def __call__(self, *embedded: tuple[jax.Array, jax.Array]) -> jax.Array:
        """[S, features] of pairs of a table [N, E] and symbols [S, P], whose embeddings are added."""
        (rows, symbols), *_ = embedded
        shape = symbols.shape[1], rows.shape[1], self.features
        kernel = self.param("kernel", nn.initializers.lecun_normal(), (shape[0] * shape[1], shape[2]))
        bias = self.param("bias", nn.initializers.zeros_init(), (self.features,))
        y = jnp.float32(0)
        for rows, symbols in embedded:
            both = jnp.einsum("ne,peo->pno", rows, kernel.reshape(shape), precision="highest")
            one_hot = jax.nn.one_hot(symbols, len(rows), dtype=self.dtype)
            y += product("spn,pno->so", jnp.float32, one_hot, both)
        return biased(y, bias, self.dtype)
