"""The networks of NetHack's agents in plain PyTorch, with the parameters of `agents.nethack`.

Modules are called as in our trees of parameters (`train.bench.parameters`). What has no parameters is read ready-made:
crop, text lines and wide view (`agents.nethack.sight`), what a prompt offers and what answered (`prompt`).

Shapes: B lanes, T steps, S = B x T samples, D the core's width, E a head's, C earlier steps in the cache.
"""

from itertools import pairwise
from typing import Any

import jax.numpy as jnp
import numpy as np
import torch  # pyright: ignore[reportMissingImports]  # an extra
import torch.nn.functional as F  # pyright: ignore[reportMissingImports]
from torch import Tensor, nn  # pyright: ignore[reportMissingImports]

from agents.cores.lstm import LSTM
from agents.cores.transformer import ROPE_BASE, Transformer
from agents.nethack.agent import NetHackAgent
from agents.nethack.deep import GLYPHS, SLOTS, Deep
from agents.nethack.prompt import ACTIONS, no_prompts, offered_keys, remember
from agents.nethack.screen import COLORS, MAP_ROWS
from agents.nethack.sight import (
    BLOCK,
    BLOCK_COLUMNS,
    BLOCK_ROWS,
    CHARS,
    CROP_CHARS,
    CROP_COLORS,
    KINDS,
    LINES,
    VIEW,
    cut_out,
)
from agents.nethack.thin import Thin
from agents.spec import Params
from data.spec import COLUMNS, Batch
from train.bench.parameters import state_dict

EPSILON = 1e-6
"""That of Flax's norms."""


class NetHackPolicy(nn.Module):
    """Encoders, mixer, core and head of an agent."""

    def __init__(self, agent: NetHackAgent) -> None:
        super().__init__()
        width, encoders = agent.width, agent.encoders
        self.encoders = ThinEncoders(encoders) if isinstance(encoders, Thin) else DeepEncoders(encoders)
        self.mixer = nn.ModuleDict()
        inputs = encoders.features() + ACTIONS
        for layer in range(2 if isinstance(encoders, Deep) else 1):
            self.mixer[f"linear{layer}"] = nn.Linear(inputs, width)
            self.mixer[f"norm{layer}"] = nn.LayerNorm(width, EPSILON)
            inputs = width
        if isinstance(agent.core, LSTM):
            # It has a second bias: our forget bias of 1.
            self.core = nn.LSTM(width, width, agent.depth, batch_first=True)
        else:
            self.core = TransformerCore(agent.core)
        self.head = nn.Linear(width, ACTIONS)
        if agent.prompts:
            self.prompt = nn.ModuleDict({"score": nn.Linear(width, 2)})

    def forward(self, inputs: dict[str, Tensor], carry: Any = None) -> tuple[Tensor, Any]:
        """Logits [B, T, A] and the carry; `inputs` have leading axes [B, T]."""
        lanes, steps = inputs["prev_action"].shape
        features = self.encoders({name: x.flatten(0, 1) for name, x in inputs.items()})
        # On an episode's first step there is none: one that is not in the table.
        action = F.one_hot(inputs["prev_action"].flatten(), ACTIONS + 1)[:, :ACTIONS]
        x = torch.cat([features, action.float()], -1)
        for layer in range(len(self.mixer) // 2):
            x = F.relu(self.mixer[f"norm{layer}"](self.mixer[f"linear{layer}"](x)))
        y, carry = self.core(x.view(lanes, steps, -1), carry)
        if isinstance(self.core, nn.LSTM):
            carry = tuple(state.detach() for state in carry)
        logits = self.head(y)
        if hasattr(self, "prompt"):
            shared, per_answer = self.prompt["score"](y).split(1, -1)
            logits = logits + inputs["offered"] * (shared + per_answer * inputs["answers"])
        return logits, carry


class TransformerCore(nn.ModuleDict):
    """Blocks over the window and the keys and values of up to `context` steps before it."""

    def __init__(self, config: Transformer) -> None:
        super().__init__({f"layer{layer}": Block(config) for layer in range(config.layers)})
        self.config, self["norm"] = config, nn.RMSNorm(config.width, EPSILON)
        if config.spare_row:
            self.spare_row = nn.Parameter(torch.zeros(1, config.width))

    def forward(self, x: Tensor, carry: Any) -> tuple[Tensor, Any]:
        """Outputs [B, T, D], and the last keys and values of each block."""
        context, half = self.config.context, self.config.head // 2
        past = carry[0][0].shape[2] if carry else 0
        key = torch.arange(past + x.shape[1], device=x.device)
        distance = key[past:, None] - key
        seen = (distance >= 0) & (distance <= context)
        angle = key[:, None] * ROPE_BASE ** (-torch.arange(half, device=x.device) / half)
        after = []
        for layer in range(self.config.layers):
            x, k, v = self[f"layer{layer}"](x, carry and carry[layer], seen, angle.cos(), angle.sin())
            after.append((k[:, :, -context:].detach(), v[:, :, -context:].detach()))
        return self["norm"](x), after


class Block(nn.Module):
    """Attention with rotary positions, then a gated feed-forward layer."""

    def __init__(self, config: Transformer) -> None:
        super().__init__()
        width, self.heads = config.width, (config.width // config.head, config.head)
        self.attention_norm, self.feed_norm = nn.RMSNorm(width, EPSILON), nn.RMSNorm(width, EPSILON)
        self.q, self.k, self.v, self.out = (nn.Linear(width, width, bias=False) for _ in range(4))
        self.gate, self.up = (nn.Linear(width, 4 * width, bias=False) for _ in range(2))
        self.down = nn.Linear(4 * width, width, bias=False)

    def forward(
        self, x: Tensor, past: tuple[Tensor, Tensor] | None, seen: Tensor, cos: Tensor, sin: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Outputs [B, T, D], and keys (before rotation) and values [B, H, C + T, E]."""
        y = self.attention_norm(x)
        q, k, v = (layer(y).unflatten(-1, self.heads).transpose(1, 2) for layer in (self.q, self.k, self.v))
        if past is not None:
            k, v = torch.cat([past[0], k], 2), torch.cat([past[1], v], 2)
        steps = x.shape[1]
        q, rotated = rotate(q, cos[-steps:], sin[-steps:]), rotate(k, cos, sin)
        y = F.scaled_dot_product_attention(q, rotated, v, attn_mask=seen)
        x = x + self.out(y.transpose(1, 2).flatten(2))
        y = self.feed_norm(x)
        return x + self.down(F.silu(self.gate(y)) * self.up(y)), k, v


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary embedding of x [B, H, K, E]."""
    a, b = x.chunk(2, -1)
    return torch.cat([a * cos - b * sin, b * cos + a * sin], -1)


class Cells(nn.Module):
    """The sum of a character's and a colour's embedding."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.char, self.color = nn.Embedding(CHARS, width), nn.Embedding(COLORS, width)

    def forward(self, chars: Tensor, colors: Tensor) -> Tensor:
        """Embedded cells, one axis more."""
        return self.char(chars) + self.color(colors)


class ThinEncoders(nn.Module):
    """Dense layers over embedded cells and characters."""

    def __init__(self, config: Thin) -> None:
        super().__init__()
        self.cells, self.text = Cells(config.cell), nn.Embedding(CHARS, config.text)
        self.crop = Encoder(config.crop**2 * config.cell, config)
        self.message = Encoder(COLUMNS * config.text, config)
        self.status = Encoder(2 * COLUMNS * config.text, config)
        if config.view:
            self.view = Encoder(BLOCK_ROWS * BLOCK_COLUMNS * len(KINDS), config)
        if config.screen:
            self.screen = ResNet(config.cell, (config.screen, 2 * config.screen), (config.width,))

    def forward(self, inputs: dict[str, Tensor]) -> Tensor:
        """Features [S, F]."""
        lines = self.text(inputs[LINES])
        features = [
            self.crop(self.cells(inputs[CROP_CHARS], inputs[CROP_COLORS]).flatten(1)),
            self.message(lines[:, 0].flatten(1)),
            self.status(lines[:, 1:].flatten(1)),
        ]
        if hasattr(self, "view"):
            features.append(self.view(inputs[VIEW].flatten(1)))
        if hasattr(self, "screen"):
            features.append(self.screen(self.cells(*map_of(inputs))))
        return torch.cat(features, -1)


class Encoder(nn.Linear):
    """A linear layer with its norm and activation."""

    def __init__(self, inputs: int, config: Thin) -> None:
        super().__init__(inputs, config.width)
        if config.norm:
            self.norm = nn.LayerNorm(config.width, EPSILON)

    def forward(self, x: Tensor) -> Tensor:
        """Features [S, F]."""
        x = super().forward(x)
        return F.elu(self.norm(x)) if hasattr(self, "norm") else F.relu(x)


class DeepEncoders(nn.Module):
    """The paper's encoders."""

    def __init__(self, config: Deep) -> None:
        super().__init__()
        self.cells = Cells(config.cell)
        self.message, self.status, self.crop = Message(), Status(), Crop(config.cell)
        self.screen = ResNet(config.cell, (16, 32), (512, 512))
        if config.inventory:
            self.inventory = Inventory()

    def forward(self, inputs: dict[str, Tensor]) -> Tensor:
        """Features [S, F]."""
        features = [
            self.message(inputs[LINES][:, 0]),
            self.status(inputs[LINES][:, 1:].flatten(1)),
            self.screen(self.cells(*map_of(inputs))),
            self.crop(self.cells(inputs[CROP_CHARS], inputs[CROP_COLORS])),
        ]
        if hasattr(self, "inventory"):
            features.append(self.inventory(inputs["inventory"]))
        return torch.cat(features, -1)


def map_of(inputs: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Characters and colours of the map's rows."""
    return inputs["chars"][:, 1 : 1 + MAP_ROWS], inputs["colors"][:, 1 : 1 + MAP_ROWS]


def convolve(layer: nn.Module, x: Tensor) -> Tensor:
    """A convolution of [S, rows, columns, channels], which in this order needs no copy (`channels_last`)."""
    return layer(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


class Crop(nn.ModuleDict):
    """Five convolutions over the cells around the cursor."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        for layer, (before, after) in enumerate(pairwise((inputs, 16, 16, 16, 16, 8))):
            self[f"conv{layer}"] = nn.Conv2d(before, after, 3, padding=1)
            self[f"norm{layer}"] = nn.LayerNorm(after, EPSILON)

    def forward(self, x: Tensor) -> Tensor:
        """Features [S, 648]."""
        for layer in range(5):
            x = F.elu(self[f"norm{layer}"](convolve(self[f"conv{layer}"], x)))
        return x.flatten(1)


class Message(nn.ModuleDict):
    """Two linear layers over the top line's one-hot characters."""

    def __init__(self) -> None:
        super().__init__()
        self["linear0"] = nn.EmbeddingBag(COLUMNS * CHARS, 64, mode="sum")
        self.bias0 = nn.Parameter(torch.zeros(64))
        self["linear1"] = nn.Linear(64, 64)
        self["norm0"], self["norm1"] = nn.LayerNorm(64, EPSILON), nn.LayerNorm(64, EPSILON)

    def forward(self, line: Tensor) -> Tensor:
        """Features [S, 64]."""
        place = torch.arange(COLUMNS, device=line.device) * CHARS
        x = F.elu(self["norm0"](self["linear0"](line + place) + self.bias0))
        return F.elu(self["norm1"](self["linear1"](x)))


class Status(nn.ModuleDict):
    """Convolutions over the bottom lines' scaled characters and digits."""

    def __init__(self) -> None:
        super().__init__()
        self["conv0"], self["conv1"] = nn.Conv1d(2, 32, 8, 4), nn.Conv1d(32, 64, 4)
        for layer, inputs in enumerate((36 * 64, 128)):
            self[f"linear{layer}"] = nn.Linear(inputs, 128)
            self[f"norm{layer}"] = nn.LayerNorm(128, EPSILON)

    def forward(self, lines: Tensor) -> Tensor:
        """Features [S, 128]."""
        char = lines.float()
        digit = torch.where((char >= ord("0")) & (char <= ord("9")), (char - ord("0")) / 10, 0)
        x = F.elu(self["conv0"](torch.stack([char / CHARS, digit], 1)))
        x = F.elu(self["conv1"](x)).transpose(1, 2).flatten(1)
        for layer in range(2):
            x = F.elu(self[f"norm{layer}"](self[f"linear{layer}"](x)))
        return x


class Inventory(nn.ModuleDict):
    """A linear layer over the embedded glyphs of the inventory."""

    def __init__(self) -> None:
        super().__init__()
        self["glyph"] = nn.Embedding(GLYPHS, 32)
        self["linear"], self["norm"] = nn.Linear(SLOTS * 32, 256), nn.LayerNorm(256, EPSILON)

    def forward(self, glyphs: Tensor) -> Tensor:
        """Features [S, 256]."""
        return F.elu(self["norm"](self["linear"](self["glyph"](glyphs).flatten(1))))


class ResNet(nn.ModuleDict):
    """Stages of a convolution, a max-pool and two residual blocks; then linear layers."""

    def __init__(self, inputs: int, channels: tuple[int, ...], linear: tuple[int, ...]) -> None:
        super().__init__()
        self.channels, self.linear, (rows, columns) = channels, linear, (MAP_ROWS, COLUMNS)
        for stage, width in enumerate(channels):
            self[f"stage{stage}"] = nn.Conv2d(inputs, width, 3, padding=1)
            for unit in self.units(stage):
                self[unit] = nn.Conv2d(width, width, 3, padding=1)
                self[f"{unit}_norm"] = nn.LayerNorm(width, EPSILON)
            rows, columns, inputs = -(-rows // 2), -(-columns // 2), width
        for layer, (before, after) in enumerate(pairwise((rows * columns * inputs, *linear))):
            self[f"linear{layer}"] = nn.Linear(before, after)
            self[f"linear{layer}_norm"] = nn.LayerNorm(after, EPSILON)

    def units(self, stage: int) -> list[str]:
        """Names of a stage's convolutions in residual blocks, of which each has two."""
        return [f"stage{stage}_block{block}_conv{conv}" for block in range(2) for conv in range(2)]

    def forward(self, x: Tensor) -> Tensor:
        """Features [S, linear[-1]] of cells [S, rows, columns, channels]."""
        for stage in range(len(self.channels)):
            x = convolve(self[f"stage{stage}"], x).permute(0, 3, 1, 2)
            # Odd sizes are padded on both sides, even ones after the last.
            x = F.max_pool2d(x, 3, 2, (x.shape[2] % 2, x.shape[3] % 2), ceil_mode=True).permute(0, 2, 3, 1)
            units = self.units(stage)
            for pair in (units[:2], units[2:]):
                y = x
                for unit in pair:
                    y = convolve(self[unit], F.elu(self[f"{unit}_norm"](y)))
                x = x + y
        x = x.flatten(1)
        for layer in range(len(self.linear)):
            x = F.elu(self[f"linear{layer}_norm"](self[f"linear{layer}"](x)))
        return x


def module_of(agent: NetHackAgent, params: Params) -> NetHackPolicy:
    """The module of an agent's network, with its parameters."""
    policy = NetHackPolicy(agent)
    own = {group: params[group] for group, _ in policy.named_children() if group in params}
    encoders = {group: of_group for group, of_group in params.items() if group not in own}
    policy.load_state_dict(state_dict({**own, "encoders": encoders}))
    return policy.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]


def inputs_of(agent: NetHackAgent, batch: Batch) -> dict[str, Any]:
    """What the module reads of a batch, indices as int64."""
    seen = dict(batch.observation) | cut_out(
        batch.observation, agent.encoders.crop, getattr(agent.encoders, "view", False)
    )
    lanes, action = len(batch.first), batch.observation["prev_action"]
    inputs = {name: torch.from_numpy(np.asarray(x)).long() for name, x in seen.items()}
    for name in ("colors", CROP_COLORS):
        inputs[name].clamp_(max=COLORS - 1)
    if VIEW in inputs:
        inputs[VIEW] = inputs[VIEW] / BLOCK
    if agent.prompts:
        offered = offered_keys(jnp.asarray(seen[LINES][:, :, 0]).reshape(-1, COLUMNS)).reshape(lanes, -1, ACTIONS)
        answers, _ = remember(offered, jnp.asarray(action), jnp.asarray(batch.first), no_prompts(lanes))
        inputs |= {"offered": torch.from_numpy(np.array(offered)), "answers": torch.from_numpy(np.array(answers))}
    return inputs
