"""LSTM core (Hochreiter & Schmidhuber 1997, with forget gates)."""

from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from agents.cost import Part, dense
from agents.layers import Dense
from agents.overrides import require

UNROLL = 8
"""Steps of the scan in one iteration of the compiled loop."""


@dataclass(frozen=True)
class LSTM:
    """Stack of LSTM layers, each of `width` units."""

    width: int
    layers: int = 1

    kind = "lstm"

    def __post_init__(self) -> None:
        """Raise `UserError` if a size is out of range."""
        require(self, width=1, layers=1)

    def initial_carry(self, lanes: int, dtype: jnp.dtype) -> jax.Array:
        """Zeros [lanes, layers, 2, width]: cell and hidden state, float32 whatever the `dtype`."""
        return jnp.zeros((lanes, self.layers, 2, self.width), jnp.float32)

    def cost(self, window: int) -> Part:
        """Per sample: a product of the input and one of the hidden state for each layer.

        The state that enters a window is data: the first of its `window` steps has no gradient of the hidden state.
        """
        weights = 4 * self.width**2
        hidden = Part(weights, 2 * weights, 2 * weights + 2 * weights * (window - 1) // window)
        # Sums of products, resets, activations, products and sums of the cell.
        gates = Part(0, 18 * self.width, 21 * self.width)
        return (dense(self.width, 4 * self.width) + hidden + gates) * self.layers

    def module(self, dtype: jnp.dtype, remat: bool = False) -> nn.Module:
        """The Flax module, from (x_BxTxD, first_BxT, carry) to (y_BxTxD, carry); `remat` recomputes each layer."""
        return LSTMStack(self, dtype, remat, name="core")


class LSTMStack(nn.Module):
    """B lanes, T steps, D = width."""

    config: LSTM
    dtype: jnp.dtype
    remat: bool = False

    @nn.compact
    def __call__(self, x_BxTxD: jax.Array, first_BxT: jax.Array, carry: jax.Array):
        """Outputs [B, T, D] and the carry after the window."""
        after, kind = [], nn.remat(LSTMLayer) if self.remat else LSTMLayer
        for layer in range(self.config.layers):
            cell = kind(self.config.width, self.dtype, name=f"layer{layer}")
            x_BxTxD, state = cell(x_BxTxD, first_BxT, carry[:, layer])
            after.append(state)
        return x_BxTxD, jnp.stack(after, axis=1)


class LSTMLayer(nn.Module):
    """One layer. The input's product is computed for the whole window; only the hidden state's is in the scan.

    Products are in `dtype`; gates and states, and what is summed of their gradients, in float32.
    """

    width: int
    dtype: jnp.dtype

    @nn.compact
    def __call__(self, x_BxTxD: jax.Array, first_BxT: jax.Array, state_Bx2xD: jax.Array):
        """Outputs [B, T, D] and the cell and hidden state [B, 2, D] after the window."""
        gates_BxTx4D = Dense(4 * self.width, self.dtype, out=jnp.float32, name="input")(x_BxTxD)
        kernel = self.param("hidden", nn.initializers.orthogonal(), (self.width, 4 * self.width))
        gates_TxBx4D = jnp.swapaxes(gates_BxTx4D, 0, 1)
        state = State(state_Bx2xD[:, 0], state_Bx2xD[:, 1])
        hidden_TxBxD, state = recurrence(self.dtype, gates_TxBx4D, kernel, first_BxT.T, state)  # pyright: ignore
        return jnp.swapaxes(hidden_TxBxD, 0, 1), jnp.stack(state, axis=1)


class State(NamedTuple):
    """Cell and hidden state, float32 [B, D]."""

    cell: jax.Array
    hidden: jax.Array


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def recurrence(
    dtype: jnp.dtype, gates_TxBx4D: jax.Array, kernel_Dx4D: jax.Array, first_TxB: jax.Array, state: State
) -> tuple[jax.Array, State]:
    """The LSTM's scan over a window: hidden states [T, B, D] in `dtype`, and the state after it.

    `gates_TxBx4D` are what the input adds to the gates, float32. Backward, the scan has one product a step as forward:
    the kernel's gradient is a single product after it, which also sums over steps in float32.
    """
    return _forward(dtype, gates_TxBx4D, kernel_Dx4D, first_TxB, state)[0]


def _forward(
    dtype: jnp.dtype, gates_TxBx4D: jax.Array, kernel_Dx4D: jax.Array, first_TxB: jax.Array, state: State
) -> tuple[tuple[jax.Array, State], tuple[jax.Array, ...]]:
    kernel = kernel_Dx4D.astype(dtype)

    def step(state: State, inputs: tuple[jax.Array, jax.Array]) -> tuple[State, jax.Array]:
        gates_Bx4D, first_B = inputs
        before = reset(state, first_B)
        gates_Bx4D += jnp.einsum("bi,io->bo", before.hidden.astype(dtype), kernel, preferred_element_type=jnp.float32)
        i, f, g, o = jnp.split(gates_Bx4D, 4, axis=-1)
        # A forget bias of 1 (Jozefowicz et al. 2015).
        i, f, g, o = nn.sigmoid(i), nn.sigmoid(f + jnp.ones((), f.dtype)), jnp.tanh(g), nn.sigmoid(o)
        cell_BxD = f * before.cell + i * g
        # In one array, since each that a scan stacks is a kernel of its own on a GPU.
        return State(cell_BxD, o * jnp.tanh(cell_BxD)), jnp.concatenate([i, f, g, o, cell_BxD], axis=-1)

    after, kept_TxBx5D = jax.lax.scan(step, state, (gates_TxBx4D, first_TxB), unroll=UNROLL)
    *_, o, cell_TxBxD = jnp.split(kept_TxBx5D, 5, axis=-1)
    hidden_TxBxD = (o * jnp.tanh(cell_TxBxD)).astype(dtype)
    return (hidden_TxBxD, after), (kept_TxBx5D, hidden_TxBxD, kernel_Dx4D, first_TxB, *state)


def _backward(
    dtype: jnp.dtype, residuals: tuple[jax.Array, ...], gradients: tuple[jax.Array, State]
) -> tuple[jax.Array, jax.Array, None, State]:
    kept_TxBx5D, hidden_TxBxD, kernel_Dx4D, first_TxB, cell_BxD, hidden_BxD = residuals
    of_hidden_TxBxD, of_after = gradients
    kernel = kernel_Dx4D.astype(dtype)
    cell_TxBxD = kept_TxBx5D[..., -cell_BxD.shape[-1] :]
    hidden_before = jnp.concatenate([hidden_BxD.astype(dtype)[None], hidden_TxBxD[:-1]])
    before = reset(State(jnp.concatenate([cell_BxD[None], cell_TxBxD[:-1]]), hidden_before), first_TxB)

    def step(of_state: State, inputs: tuple[jax.Array, ...]) -> tuple[State, jax.Array]:
        kept_Bx5D, before_BxD, first_B, of_hidden_BxD = inputs
        i, f, g, o, cell = jnp.split(kept_Bx5D, 5, axis=-1)
        one, squashed = jnp.float32(1), jnp.tanh(cell)
        of_hidden = of_state.hidden + of_hidden_BxD.astype(jnp.float32)
        of_cell = of_state.cell + of_hidden * o * (one - squashed * squashed)
        of_gates_Bx4D = jnp.concatenate(
            [
                of_cell * g * i * (one - i),
                of_cell * before_BxD * f * (one - f),
                of_cell * i * (one - g * g),
                of_hidden * squashed * o * (one - o),
            ],
            axis=-1,
        )
        of_before = jnp.einsum("bo,io->bi", of_gates_Bx4D.astype(dtype), kernel, preferred_element_type=jnp.float32)
        return reset(State(of_cell * f, of_before), first_B), of_gates_Bx4D

    inputs = kept_TxBx5D, before.cell, first_TxB, of_hidden_TxBxD
    of_state, of_gates_TxBx4D = jax.lax.scan(step, of_after, inputs, reverse=True, unroll=UNROLL)
    of_kernel = jnp.einsum(
        "tbi,tbo->io", before.hidden, of_gates_TxBx4D.astype(dtype), preferred_element_type=jnp.float32
    )
    return of_gates_TxBx4D, of_kernel, None, of_state


recurrence.defvjp(_forward, _backward)


def reset(state: State, first: jax.Array) -> State:
    """The state [..., B, D], zero where an episode begins, bool [..., B]."""
    return State(*(jnp.where(first[..., None], jnp.zeros_like(s), s) for s in state))
