"""A small decoder-only transformer: pre-norm, rotary positions, causal attention.

Source: Radford et al. 2019 (GPT-2) for the block; Su et al. 2021, arXiv:2104.09864, section 3.4.2,
for rotary positions, without which so short a training learns no more than letter frequencies.

Shapes: B batch, T time, D width, H heads, K head width (D / H), V vocabulary.
"""

import torch
import torch.nn.functional as F  # noqa: N812 - everybody's name for it
from torch import Tensor, nn

from bench.api import Table


class ModelConfig(Table):
    """Sizes of the model."""

    vocabulary: int
    width: int
    heads: int
    layers: int
    sequence: int


class Rotary(nn.Module):
    """Turns pairs of channels by angles that grow with position."""

    def __init__(self, sequence: int, head_width: int) -> None:
        super().__init__()
        rates = 10_000.0 ** (-torch.arange(0, head_width, 2) / head_width)
        angles_TK = torch.outer(torch.arange(sequence), rates).repeat(1, 2)
        self.register_buffer("cos_TK", angles_TK.cos(), persistent=False)
        self.register_buffer("sin_TK", angles_TK.sin(), persistent=False)

    def forward(self, x_BHTK: Tensor) -> Tensor:
        """Return queries or keys with their positions in them."""
        first, second = x_BHTK.chunk(2, dim=-1)
        turned_BHTK = torch.cat((-second, first), dim=-1)
        return x_BHTK * self.cos_TK + turned_BHTK * self.sin_TK


class Block(nn.Module):
    """Attention and a multilayer perceptron, each behind a norm and beside a residual path."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.norm_attention = nn.LayerNorm(config.width)
        self.qkv = nn.Linear(config.width, 3 * config.width, bias=False)
        self.rotary = Rotary(config.sequence, config.width // config.heads)
        self.out = nn.Linear(config.width, config.width, bias=False)
        self.norm_mlp = nn.LayerNorm(config.width)
        self.up = nn.Linear(config.width, 4 * config.width, bias=False)
        self.down = nn.Linear(4 * config.width, config.width, bias=False)

    def forward(self, x_BTD: Tensor) -> Tensor:
        """Return the block's output, (B, T, D)."""
        x_BTD = x_BTD + self._attend(self.norm_attention(x_BTD))
        return x_BTD + self.down(F.gelu(self.up(self.norm_mlp(x_BTD))))

    def _attend(self, x_BTD: Tensor) -> Tensor:
        B, T, D = x_BTD.shape
        qkv = self.qkv(x_BTD).view(B, T, 3, self.heads, D // self.heads)
        q_BHTK, k_BHTK, v_BHTK = qkv.permute(2, 0, 3, 1, 4)
        mixed_BHTK = F.scaled_dot_product_attention(
            self.rotary(q_BHTK), self.rotary(k_BHTK), v_BHTK, is_causal=True
        )
        return self.out(mixed_BHTK.transpose(1, 2).reshape(B, T, D))


class GPT(nn.Module):
    """Tokens to logits of the next token.

    The head is not tied to the embedding: a vocabulary of bytes makes both small, and each
    parameter then has one role, by which submissions treat it.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.embedding = nn.Embedding(config.vocabulary, config.width)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.norm = nn.LayerNorm(config.width)
        self.head = nn.Linear(config.width, config.vocabulary, bias=False)
        self.apply(_draw_weights)

    def forward(self, tokens_BT: Tensor) -> Tensor:
        """Return logits, (B, T, V)."""
        x_BTD = self.embedding(tokens_BT)
        for block in self.blocks:
            x_BTD = block(x_BTD)
        return self.head(self.norm(x_BTD))


def _draw_weights(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, std=0.5 * module.in_features**-0.5)
    elif isinstance(module, nn.Embedding):
        nn.init.normal_(module.weight, std=0.5 * module.embedding_dim**-0.5)
