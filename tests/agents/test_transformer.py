"""A transformer of many layers, compiled as a loop over them, computes what the layers one by one do."""

from typing import Any

import jax
import jax.numpy as jnp
import pytest
from optax.tree import norm

from agents.cores import transformer
from agents.cores.transformer import Transformer

LANES, STEPS = 3, 6
CORE = Transformer(width=16, layers=transformer.SCANNED + 1, head=8, context=4)


def value_and_gradient(dtype: str, remat: bool) -> tuple[int, Any]:
    """The number of loops in the program; loss, carry after the window, and gradients of parameters and inputs."""
    module = CORE.module(jnp.dtype(dtype), remat)
    keys = jax.random.split(jax.random.key(0), 5)
    x, weights = (jax.random.normal(key, (LANES, STEPS, CORE.width)) for key in keys[:2])
    first = jax.random.bernoulli(keys[2], 0.2, (LANES, STEPS))
    empty = CORE.initial_carry(LANES, jnp.dtype(dtype))
    params = module.init(keys[3], x.astype(dtype), first, empty)
    assert {f"layer{layer}" for layer in range(CORE.layers)} < set(params["params"])
    cache = {name: jax.random.normal(keys[4], empty[name].shape) for name in ("keys", "values")}
    carry = jax.tree.map(lambda x: x.astype(dtype), cache) | {"valid": jnp.ones_like(empty["valid"])}

    def loss(params: Any, x: jax.Array) -> Any:
        y, after = module.apply(params, x.astype(dtype), first, carry)
        return (y.astype(jnp.float32) * weights).sum(), after  # pyright: ignore

    program = jax.jit(jax.value_and_grad(loss, argnums=(0, 1), has_aux=True)).lower(params, x)
    found = jax.tree.map(lambda x: x.astype(jnp.float32), program.compile()(params, x))
    return program.as_text().count("stablehlo.while"), found


@pytest.mark.parametrize("remat", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_loop_over_layers_has_their_values_and_gradients(
    dtype: str, remat: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In bfloat16 up to rounding: it is as near to float32."""
    loops, looped = value_and_gradient(dtype, remat)
    monkeypatch.setattr(transformer, "SCANNED", CORE.layers + 1)
    none, unrolled = value_and_gradient(dtype, remat)
    assert loops > none == 0
    _, exact = value_and_gradient("float32", remat=False)

    def far(tree: Any, name: str) -> float:
        """The relative distance of all gradients, or of the carry, from float32."""
        (_, after), gradients = tree
        (_, exact_after), exact_gradients = exact
        one, two = (gradients, exact_gradients) if name == "gradients" else (after, exact_after)
        return float(norm(jax.tree.map(jnp.subtract, one, two)) / norm(two))

    for name in ("gradients", "carry"):
        assert far(looped, name) < 1.25 * far(unrolled, name) + 1e-5
        assert far(looped, name) < (1e-5 if dtype == "float32" else 0.05)
