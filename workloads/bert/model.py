"""A transformer encoder for masked tokens: pre-norm, rotary positions, GELU, no biases.

The output projection is not tied to the embedding, as in the workload gpt. What no logit depends on
is not computed: after the keys and values of the last block, masked positions only go on.

Sources: Devlin et al. 2019, arXiv:1810.04805; pre-norm of Xiong et al. 2020, arXiv:2002.04745;
rotary positions of Su et al. 2021, arXiv:2104.09864, section 3.2.2; no biases as in Chowdhery et
al. 2022, arXiv:2204.02311, section 2.

Shapes: B sequences, T tokens, D width, H heads, N = B H heads of all sequences, E = D / H width of
a head, R = E / 2 its pairs, K masked tokens of each sequence, Q of T or K, V vocabulary.
"""

from typing import Literal

import torch
from pydantic import Field, ValidationInfo, field_validator
from torch import Tensor, nn
from torch.nn import functional as F

from bench.api import BranchDrop, Table

ROTARY_BASE = 10_000.0
INITIAL_SCALE = 0.5
"""Standard deviation of initial weights times the root of the width."""


class ModelConfig(Table):
    """Which transformer."""

    vocabulary: int = Field(gt=1)
    """Symbols that a token can be; one more, the last, is [MASK]."""
    context: int = Field(gt=0)
    """Tokens of a sequence."""
    width: int = Field(gt=0)
    layers: int = Field(gt=0)
    heads: int = Field(gt=0)
    norm: Literal["pre", "post"]
    """Whether the input of attention and perceptron is normalised, or its sum with their output."""
    fused: bool = False
    """Whether attention is PyTorch's fused kernel: better for wide heads and long sequences."""

    @field_validator("heads")
    @classmethod
    def _divides_width(cls, heads: int, info: ValidationInfo) -> int:
        width = info.data.get("width", 0)
        if width % (2 * heads):
            raise ValueError(f"width {width} does not give {heads} heads an even width each")
        return heads


class Transformer(nn.Module):
    """Sequences with masked tokens to the logits of what was there.

    Args:
        config: sizes.
    """

    turns_T31R: Tensor

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.embedding = nn.Embedding(config.vocabulary + 1, config.width)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.layers))
        pre_norm = config.norm == "pre"  # else the last block ends with a norm
        self.norm = nn.LayerNorm(config.width, bias=False) if pre_norm else nn.Identity()
        self.head = nn.Linear(config.width, config.vocabulary, bias=False)
        turns_T31R = rotary_turns(config.context, config.width // config.heads)
        self.register_buffer("turns_T31R", turns_T31R, persistent=False)
        draw_weights(self, config.width)

    def forward(self, tokens_BT: Tensor, positions_BK: Tensor) -> Tensor:
        """Return logits, (B, K, V) float32.

        Args:
            tokens_BT: int64, at most as many a sequence as the context.
            positions_BK: int64, where in each sequence logits are wanted.
        """
        x_BTD = self.embedding(tokens_BT)
        turns_T31R = self.turns_T31R[: tokens_BT.shape[1]]
        for block in self.blocks[:-1]:
            x_BTD = block(x_BTD, turns_T31R)
        x_BKD = self.blocks[-1](x_BTD, turns_T31R, positions_BK)
        logits_BKV: Tensor = self.head(self.norm(x_BKD))
        return logits_BKV


class Block(nn.Module):
    """Attention, then a perceptron, each beside a residual connection.

    Args:
        config: D, H, and where norms are.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        width = config.width
        self.post_norm = config.norm == "post"
        self.norm1 = nn.LayerNorm(width, bias=False)
        self.attention = Attention(width, config.heads, config.fused)
        self.norm2 = nn.LayerNorm(width, bias=False)
        self.up = nn.Linear(width, 4 * width, bias=False)
        self.down = nn.Linear(4 * width, width, bias=False)
        self.drop1, self.drop2 = BranchDrop(), BranchDrop()

    def forward(
        self, x_BTD: Tensor, turns_T31R: Tensor, positions_BK: Tensor | None = None
    ) -> Tensor:
        """Return (B, T, D) float32, or at the positions asked for only, (B, K, D)."""
        x_BQD = x_BTD if positions_BK is None else take(x_BTD, positions_BK)
        if self.post_norm:
            x_BQD = self.norm1(x_BQD + self.attend(x_BTD, turns_T31R, positions_BK))
            normed_BQD: Tensor = self.norm2(x_BQD + self.perceive(x_BQD))
            return normed_BQD
        x_BQD = x_BQD + self.attend(self.norm1(x_BTD), turns_T31R, positions_BK)
        return x_BQD + self.perceive(self.norm2(x_BQD))

    def attend(self, x_BTD: Tensor, turns_T31R: Tensor, positions_BK: Tensor | None) -> Tensor:
        """Return the attention's output, (B, Q, D) float32."""
        y_BQD: Tensor = self.drop1(self.attention(x_BTD, turns_T31R, positions_BK))
        return y_BQD

    def perceive(self, x_BQD: Tensor) -> Tensor:
        """Return the perceptron's output, (B, Q, D) float32."""
        y_BQD: Tensor = self.drop2(self.down(F.gelu(self.up(x_BQD))))
        return y_BQD


class Attention(nn.Module):
    """Multi-head attention with rotary positions.

    Args:
        width: D.
        heads: H.
        fused: whether attention is PyTorch's fused kernel.
    """

    def __init__(self, width: int, heads: int, fused: bool = False) -> None:
        super().__init__()
        self.heads = heads
        self.fused = fused
        self.q = nn.Linear(width, width, bias=False)
        self.kv = nn.Linear(width, 2 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)

    def forward(
        self, x_BTD: Tensor, turns_T31R: Tensor, positions_BK: Tensor | None = None
    ) -> Tensor:
        """Return (B, T, D) float32, or at the positions asked for only, (B, K, D).

        Args:
            x_BTD: float32.
            turns_T31R: complex64, of `rotary_turns`.
            positions_BK: int64; every token is attended to all the same.
        """
        x_BQD, q_turns = x_BTD, turns_T31R[:, 0]
        if positions_BK is not None:
            x_BQD, q_turns = take(x_BTD, positions_BK), q_turns[positions_BK]
        rotate = turn_pairs if self.fused else turn
        q_BQHE = rotate(self.q(x_BQD).unflatten(2, (self.heads, -1)), q_turns)
        kv_BT2HE = rotate(self.kv(x_BTD).unflatten(2, (2, self.heads, -1)), turns_T31R[:, 1:])
        attend = self._attend_fused if self.fused else self._attend
        y_BQD: Tensor = self.out(attend(q_BQHE, kv_BT2HE).transpose(1, 2).flatten(2))
        return y_BQD

    def _attend(self, q_BQHE: Tensor, kv_BT2HE: Tensor) -> Tensor:
        # Three products take two thirds of the time of PyTorch's fused kernel for CPUs, whose tiles
        # are made for wider heads and longer sequences.
        q_NQE = q_BQHE.transpose(1, 2).flatten(0, 1)
        k_NTE, v_NTE = kv_BT2HE.permute(2, 0, 3, 1, 4).flatten(1, 2)
        shares_NQT = torch.bmm(q_NQE, k_NTE.mT).softmax(dim=-1)
        return torch.bmm(shares_NQT, v_NTE).unflatten(0, (-1, self.heads))

    def _attend_fused(self, q_BQHE: Tensor, kv_BT2HE: Tensor) -> Tensor:
        k_BHTE, v_BHTE = kv_BT2HE.permute(2, 0, 3, 1, 4)
        # Queries have been scaled with their turn.
        return F.scaled_dot_product_attention(q_BQHE.transpose(1, 2), k_BHTE, v_BHTE, scale=1.0)


def turn(x_E: Tensor, turns_R: Tensor) -> Tensor:
    """Return float32 features, (…, E), with each neighbouring pair turned in its plane."""
    turned_R = torch.view_as_complex(x_E.unflatten(-1, (-1, 2))) * turns_R
    return torch.view_as_real(turned_R).flatten(-2)


def turn_pairs(x_E: Tensor, turns_R: Tensor) -> Tensor:
    """Return the same as `turn`, in the features' own type: bfloat16 has no complex numbers."""
    cosine_R, sine_R = turns_R.real.to(x_E.dtype), turns_R.imag.to(x_E.dtype)
    a_R, b_R = x_E.unflatten(-1, (-1, 2)).unbind(-1)
    turned_R2 = torch.stack([a_R * cosine_R - b_R * sine_R, a_R * sine_R + b_R * cosine_R], dim=-1)
    return turned_R2.flatten(-2)


def take(x_BTn: Tensor, positions_BK: Tensor) -> Tensor:
    """Return what stands at each sequence's own positions, (B, K, …)."""
    sequences_B1 = torch.arange(len(x_BTn), device=x_BTn.device)[:, None]
    return x_BTn[sequences_B1, positions_BK]


def rotary_turns(context: int, head_width: int) -> Tensor:
    """Return the turn of each pair of features at each position, for queries, keys and values.

    Args:
        context: T.
        head_width: E.

    Returns:
        (T, 3, 1, R) complex64. Values do not turn; queries also shrink by the root of E, which is
        the scale of attention.
    """
    frequencies_R = ROTARY_BASE ** -(torch.arange(0, head_width, 2) / head_width)
    angles_TR = torch.arange(context)[:, None] * frequencies_R
    turns_TR = torch.polar(torch.ones_like(angles_TR), angles_TR)
    still_TR = torch.ones_like(turns_TR)
    return torch.stack([turns_TR / head_width**0.5, turns_TR, still_TR], dim=1)[:, :, None]


def draw_weights(model: nn.Module, width: int) -> None:
    """Draw matrices from a normal distribution of standard deviation 0.5 / sqrt(width)."""
    for parameter in model.parameters():
        if parameter.ndim == 2:
            nn.init.normal_(parameter, std=INITIAL_SCALE / width**0.5)
