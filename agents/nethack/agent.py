"""The NetHack agent: encoders, mixer, recurrent core, head over NLE's actions."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from agents.cores.dropout import dropped
from agents.cores.lstm import LSTM
from agents.cores.transformer import Transformer
from agents.cost import Cost, Group, dense, head, norm, relu
from agents.cpu.devices import platform_of, resolve_dtype
from agents.layers import Dense, layer_norm
from agents.nethack.deep import SLOTS, Deep
from agents.nethack.prompt import ACTIONS, PromptHead, no_prompts, prompt_cost
from agents.nethack.sight import cut_out, lines
from agents.nethack.thin import Thin
from agents.spec import Dropout
from data.spec import NETHACK, Field


@dataclass(frozen=True)
class NetHackAgent:
    """A policy for NetHack; see `agents.spec.Agent`."""

    name: str
    encoders: Thin | Deep
    core: LSTM | Transformer
    prompts: bool = False
    """Add a head that scores the letters that a prompt offers (`agents.nethack.prompt`)."""
    dtype: str = "float32"
    remat: bool = False
    """Recompute the activations of encoders and core layers in the backward pass."""
    platform: str | None = None
    """Compute as is fastest on "cpu", "gpu" or "tpu"; by default with the fewest operations."""

    recurrent = True
    microbatch = None
    actions = ACTIONS

    @property
    def kind(self) -> str:
        """Kind of the core: `lstm` or `transformer`."""
        return self.core.kind

    @property
    def width(self) -> int:
        """Features of the core."""
        return self.core.width

    @property
    def depth(self) -> int:
        """Layers of the core."""
        return self.core.layers

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the observation's arrays that it reads."""
        return tuple(self._fields())

    def on_host(self, observation: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
        """What it sees of a screen, if that is not all; see `agents.spec.Agent`."""
        if not isinstance(self.encoders, Thin) or not self.encoders.in_part:
            return observation
        return cut_out(observation, self.encoders.crop, self.encoders.view)

    def for_backend(self, dtype: str = "auto", backend: str | None = None) -> "NetHackAgent":
        """The same agent as JAX's default backend computes it best; see `agents.spec.Agent`."""
        platform = platform_of(backend)
        return dataclasses.replace(self, dtype=resolve_dtype(dtype, platform), platform=platform)

    def rematerialised(self) -> "NetHackAgent":
        """The same agent with `remat`; see `agents.spec.Agent`."""
        return dataclasses.replace(self, remat=True)

    def of_width(self, width: int) -> "NetHackAgent":
        """The same agent with a core of this width, and thin encoders in proportion; see `agents.spec.Agent`."""
        encoders = self.encoders
        if isinstance(encoders, Thin):
            encoders = dataclasses.replace(encoders, width=max(1, encoders.width * width // self.width))
        return dataclasses.replace(self, encoders=encoders, core=dataclasses.replace(self.core, width=width))

    def init(self, key: jax.Array) -> Any:
        """Fresh parameters, float32: a flat dict of the groups."""
        observation = {name: jnp.zeros((1, 1, *field.shape), field.dtype) for name, field in self._fields().items()}
        first = jnp.zeros((1, 1), bool)
        # Flax derives a parameter's key from its path, in which the encoders are a module of their own.
        network = Network(self, flat=False)
        tree: Any = network.init(key, observation, first, self.initial_carry(1))["params"]
        return {**tree.pop("encoders"), **tree}

    def initial_carry(self, lanes: int) -> Any:
        """The core's initial carry and an empty memory of prompts, leading axis `lanes`."""
        core = self.core.initial_carry(lanes, jnp.dtype(self.dtype))
        return core, no_prompts(lanes) if self.prompts else ()

    def apply(
        self,
        params: Any,
        observation: Mapping[str, jax.Array],
        first: jax.Array,
        carry: Any,
        dropout: Dropout | None = None,
    ) -> tuple[jax.Array, Any]:
        """Logits float32 [B, T, 121] and the carry after the window."""
        logits, carry = Network(self).apply({"params": params}, observation, first, carry, dropout)  # pyright: ignore
        return logits, carry

    def cost(self, window: int) -> Cost:
        """Parameters and FLOPs per sample by group."""
        encoders = self.encoders
        groups = [Group(name, part, encoders.counted) for name, part in encoders.parts().items()]
        width = self.core.width
        mixer = dense(encoders.features() + ACTIONS, width) + norm(width) + relu(width)
        if isinstance(encoders, Deep):
            mixer += dense(width, width) + norm(width) + relu(width)
        groups += [
            Group("mixer", mixer, True),
            Group("core", self.core.cost(window), True),
            Group("head", head(width, ACTIONS), True),
        ]
        if self.prompts:
            groups.append(Group("prompt", prompt_cost(width), True))
        return Cost(tuple(groups))

    def _fields(self) -> dict[str, Field]:
        inventory = isinstance(self.encoders, Deep) and self.encoders.inventory
        return NETHACK | ({"inventory": Field((SLOTS,), "int16")} if inventory else {})


class Network(nn.Module):
    """B lanes, T steps, A actions, D the core's width."""

    config: NetHackAgent
    flat: bool = True
    """Whether the encoders' parameters lie beside the others, as in checkpoints, or in a subtree `encoders`."""

    @nn.compact
    def __call__(
        self, observation: Mapping[str, jax.Array], first_BxT: jax.Array, carry: Any, dropout: Dropout | None = None
    ) -> tuple[jax.Array, Any]:
        """Logits [B, T, A] and the carry."""
        config = self.config
        dtype = jnp.dtype(config.dtype)
        lanes, steps = first_BxT.shape
        samples = {name: x.reshape(lanes * steps, *x.shape[2:]) for name, x in observation.items()}
        encoders = config.encoders.module(dtype, config.remat, config.platform).copy(name="encoders")
        if self.flat:
            nn.share_scope(self, encoders)
        features = encoders(samples)
        features = dropped(features.reshape(lanes, steps, -1), dropout, 0).reshape(features.shape)
        action = jax.nn.one_hot(samples["prev_action"], ACTIONS, dtype=dtype)
        x = Mixer(config.core.width, 2 if isinstance(config.encoders, Deep) else 1, dtype, name="mixer")(
            jnp.concatenate([features, action], axis=-1)
        )
        core = config.core.module(dtype, config.remat)
        core_carry, memory = carry
        y_BxTxD, core_carry = core(dropped(x.reshape(lanes, steps, -1), dropout, 1), first_BxT, core_carry)
        y_BxTxD = dropped(y_BxTxD, dropout, 2)
        logits = Dense(ACTIONS, dtype, out=jnp.float32, name="head")(y_BxTxD)
        if config.prompts:
            prompt = PromptHead(name="prompt")
            message_BxTxC, _ = lines(observation)
            offer, memory = prompt(y_BxTxD, message_BxTxC, observation["prev_action"], first_BxT, memory)
            logits += offer
        return logits, (core_carry, memory)


class Mixer(nn.Module):
    """Linear layers from all features to the core's width."""

    width: int
    layers: int
    dtype: jnp.dtype

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Features [S, width]."""
        for layer in range(self.layers):
            x = Dense(self.width, self.dtype, name=f"linear{layer}")(x)
            x = nn.relu(layer_norm(x, self.dtype, f"norm{layer}"))
        return x
