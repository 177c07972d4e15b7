"""LSTM core (Hochreiter & Schmidhuber 1997, with forget gates)."""

from dataclasses import dataclass

import flax.linen as nn
import jax
import jax.numpy as jnp

from agents.cost import Part, dense
from agents.layers import Dense, product
from agents.overrides import require


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

    Products are in `dtype`; gates and states, and what the scan sums of their gradients, in float32.
    """

    width: int
    dtype: jnp.dtype

    @nn.compact
    def __call__(self, x_BxTxD: jax.Array, first_BxT: jax.Array, state_Bx2xD: jax.Array):
        """Outputs [B, T, D] and the cell and hidden state [B, 2, D] after the window."""
        gates_BxTx4D = Dense(4 * self.width, self.dtype, out=jnp.float32, name="input")(x_BxTxD)
        kernel = self.param("hidden", nn.initializers.orthogonal(), (self.width, 4 * self.width))

        def step(state, inputs):
            gates_Bx4D, first_B = inputs
            cell_BxD, hidden_BxD = (jnp.where(first_B[:, None], jnp.zeros_like(s), s) for s in state)
            gates_Bx4D += product("bi,io->bo", jnp.float32, hidden_BxD.astype(self.dtype), kernel)
            i, f, g, o = jnp.split(gates_Bx4D, 4, axis=-1)
            # A forget bias of 1 (Jozefowicz et al. 2015).
            cell_BxD = nn.sigmoid(f + jnp.ones((), f.dtype)) * cell_BxD + nn.sigmoid(i) * jnp.tanh(g)
            hidden_BxD = nn.sigmoid(o) * jnp.tanh(cell_BxD)
            return (cell_BxD, hidden_BxD), hidden_BxD.astype(self.dtype)

        state = (state_Bx2xD[:, 0], state_Bx2xD[:, 1])
        inputs = (jnp.swapaxes(gates_BxTx4D, 0, 1), first_BxT.T)
        state, hidden_TxBxD = jax.lax.scan(step, state, inputs)
        return jnp.swapaxes(hidden_TxBxD, 0, 1), jnp.stack(state, axis=1)
