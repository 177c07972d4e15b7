"""The NetHack agent: encoders, mixer, core, head over the action table."""

from dataclasses import dataclass
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from agents.cores.lstm import LSTM
from agents.cores.transformer import Transformer
from agents.cost import Cost, Group, dense, norm
from agents.nethack.encoders import Deep, Thin
from agents.nethack.prompt import ACTIONS, PromptHead, no_prompts, prompt_cost
from agents.spec import Dropout


@dataclass(frozen=True)
class NetHackAgent:
    """A policy for NetHack; see `agents.spec.Agent`."""

    name: str
    encoders: Thin | Deep
    core_config: LSTM | Transformer
    prompts: bool = False
    """Also point at the keys that a prompt offers (`agents.nethack.prompt`)."""
    dtype: str = "float32"
    """Dtype of the computation; parameters and logits are float32."""

    @property
    def core(self) -> str:
        """Kind of the core: `lstm` or `transformer`."""
        return self.core_config.kind

    recurrent = True
    """Whether it remembers anything but what it is shown."""
    microbatch = None
    """Samples whose gradient is best computed at once; None where all are."""

    @property
    def width(self) -> int:
        """Features of the core."""
        return self.core_config.width

    @property
    def depth(self) -> int:
        """Layers of the core."""
        return self.core_config.layers

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the observation's arrays that it reads."""
        inventory = isinstance(self.encoders, Deep) and self.encoders.inventory
        return ("chars", "colors", "cursor", "prev_action", *(["inventory"] if inventory else []))

    def init(self, key: jax.Array) -> Any:
        """Fresh parameters, float32, by group."""
        samples = {
            "chars": jnp.zeros((1, 1, 24, 80), jnp.uint8),
            "colors": jnp.zeros((1, 1, 24, 80), jnp.uint8),
            "cursor": jnp.zeros((1, 1, 2), jnp.uint8),
            "prev_action": jnp.zeros((1, 1), jnp.uint8),
        }
        if "inventory" in self.inputs:
            samples["inventory"] = jnp.zeros((1, 1, 55), jnp.int16)
        first = jnp.zeros((1, 1), bool)
        tree: Any = self._module().init(key, samples, first, self.initial_carry(1))["params"]
        return {**tree.pop("encoders"), **tree}

    def initial_carry(self, lanes: int) -> Any:
        """The core's carry and the memory of prompts before anything was seen, leading axis `lanes`."""
        core = self.core_config.initial_carry(lanes, jnp.dtype(self.dtype))
        return core, no_prompts(lanes) if self.prompts else ()

    def apply(
        self,
        params: Any,
        observation: dict[str, jax.Array],
        first: jax.Array,
        carry: Any,
        dropout: Dropout | None = None,
    ) -> tuple[jax.Array, Any]:
        """Logits float32 [B, T, 121] and the carry after the window."""
        encoders = {name: params[name] for name in self.encoders.parts()}
        rest = {name: params[name] for name in ("mixer", "core", "head", *(["prompt"] if self.prompts else []))}
        tree = {"params": {"encoders": encoders, **rest}}
        rngs = None if dropout is None else {"dropout": dropout.key}
        rate = 0.0 if dropout is None else dropout.rate
        logits, carry = self._module().apply(tree, observation, first, carry, rate, rngs=rngs)  # pyright: ignore
        return logits, carry

    def cost(self, window: int) -> Cost:
        """Parameters and FLOPs per sample by group."""
        encoders = self.encoders
        groups = [Group(name, part, encoders.counted) for name, part in encoders.parts().items()]
        width = self.core_config.width
        mixer = dense(encoders.features() + ACTIONS, width) + norm(width)
        if isinstance(encoders, Deep):
            mixer += dense(width, width) + norm(width)
        groups += [
            Group("mixer", mixer, True),
            Group("core", self.core_config.cost(window), True),
            Group("head", dense(width, ACTIONS), True),
        ]
        if self.prompts:
            groups.append(Group("prompt", prompt_cost(width), True))
        return Cost(tuple(groups))

    def _module(self) -> "Network":
        return Network(self)


class Network(nn.Module):
    """B lanes, T steps, A actions, D the core's width."""

    config: NetHackAgent

    @nn.compact
    def __call__(self, observation: dict[str, jax.Array], first_BxT: jax.Array, carry: Any, dropout: float = 0.0):
        """Logits [B, T, A] and the carry; `dropout` is the rate."""
        config = self.config
        dtype = jnp.dtype(config.dtype)
        lanes, steps = first_BxT.shape
        flat = {name: x.reshape(lanes * steps, *x.shape[2:]) for name, x in observation.items()}
        features = config.encoders.module(dtype).copy(name="encoders")(flat)
        noisy = nn.Dropout(dropout, deterministic=dropout == 0)
        action = jax.nn.one_hot(flat["prev_action"], ACTIONS, dtype=dtype)
        x = Mixer(config.core_config.width, 2 if isinstance(config.encoders, Deep) else 1, dtype, name="mixer")(
            jnp.concatenate([noisy(features), action], axis=-1)
        )
        core = config.core_config.module(dtype)
        core_carry, memory = carry
        y_BxTxD, core_carry = core(noisy(x).reshape(lanes, steps, -1), first_BxT, core_carry)
        y_BxTxD = noisy(y_BxTxD)
        logits = nn.Dense(ACTIONS, dtype=dtype, name="head")(y_BxTxD)
        if config.prompts:
            prompt = PromptHead(name="prompt")
            message_BxTxC = observation["chars"][:, :, 0]
            offer, memory = prompt(y_BxTxD, message_BxTxC, observation["prev_action"], first_BxT, memory)
            logits += offer
        return logits.astype(jnp.float32), (core_carry, memory)


class Mixer(nn.Module):
    """All features to the core's width."""

    width: int
    layers: int
    dtype: jnp.dtype

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Features [S, width]."""
        for layer in range(self.layers):
            x = nn.Dense(self.width, dtype=self.dtype, name=f"linear{layer}")(x)
            x = nn.relu(nn.LayerNorm(dtype=self.dtype, name=f"norm{layer}")(x))
        return x
