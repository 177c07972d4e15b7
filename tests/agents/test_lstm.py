"""The LSTM's recurrence has the values and gradients of the plain scan that it stands for."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from agents.cores.lstm import State, recurrence, reset

LANES, STEPS, WIDTH = 3, 19, 5


def plain(dtype: Any, gates: jax.Array, kernel: jax.Array, first: jax.Array, state: State) -> tuple[jax.Array, State]:
    """Step by step, differentiated by JAX."""
    outputs = []
    for step in range(len(gates)):
        before = reset(state, first[step])
        added = jnp.einsum("bi,io->bo", before.hidden.astype(dtype), kernel.astype(dtype)).astype(jnp.float32)
        i, f, g, o = jnp.split(gates[step] + added, 4, axis=-1)
        cell = jax.nn.sigmoid(f + jnp.float32(1)) * before.cell + jax.nn.sigmoid(i) * jnp.tanh(g)
        state = State(cell, jax.nn.sigmoid(o) * jnp.tanh(cell))
        outputs.append(state.hidden.astype(dtype))
    return jnp.stack(outputs), state


@pytest.mark.slow
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-5), ("bfloat16", 0.02)])
@pytest.mark.parametrize("members", [None, 2])
def test_values_and_all_gradients_are_those_of_the_plain_scan(
    dtype: str, tolerance: float, members: int | None
) -> None:
    """Also vmapped over the parameters of several members."""
    keys = jax.random.split(jax.random.key(0), 7)
    kernel = jax.random.normal(keys[0], (members or 1, WIDTH, 4 * WIDTH))
    gates = jax.random.normal(keys[1], (STEPS, LANES, 4 * WIDTH))
    first = jax.random.bernoulli(keys[2], 0.2, (STEPS, LANES))
    assert first[1:].any()
    assert not first[0].all()
    state = State(*(jax.random.normal(key, (LANES, WIDTH)) for key in keys[3:5]))
    weights = jax.random.normal(keys[5], (STEPS, LANES, WIDTH))
    after = State(*(jax.random.normal(key, (LANES, WIDTH)) for key in jax.random.split(keys[6])))

    def loss(scan: Any, kernel: jax.Array, gates: jax.Array, state: State) -> jax.Array:
        hidden, last = scan(jnp.dtype(dtype), gates, kernel, first, state)
        assert hidden.dtype == dtype
        of_last = sum((a * b).sum() for a, b in zip(last, after, strict=True))
        return (hidden.astype(jnp.float32) * weights).sum() + of_last

    def of(scan: Any) -> Any:
        def one(kernel: jax.Array) -> Any:
            return jax.value_and_grad(loss, argnums=(1, 2, 3))(scan, kernel, gates, state)

        return jax.vmap(one)(kernel) if members else one(kernel[0])

    found, expected = jax.jit(lambda: of(recurrence))(), jax.jit(lambda: of(plain))()
    for one, two in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        assert one.dtype == jnp.float32
        far = optax.tree.norm(one - two) / optax.tree.norm(two)
        assert float(far) < tolerance
    if members:
        np.testing.assert_raises(AssertionError, np.testing.assert_allclose, found[1][0][0], found[1][0][1], rtol=0.1)
