"""A decoder-only transformer: pre-norm, rotary positions, causal attention, GELU, no biases.

The output projection is not tied to the embedding: with under a hundred symbols tying would save
nothing, and untied each of the two has one role that an optimizer can tell.

Sources: Vaswani et al. 2017, arXiv:1706.03762; pre-norm of Xiong et al. 2020, arXiv:2002.04745;
rotary positions of Su et al. 2021, arXiv:2104.09864, section 3.2.2; no biases as in Chowdhery et
al. 2022, arXiv:2204.02311, section 2. Variants: post-norm as Vaswani et al. had it; norm of queries
and keys of Dehghani et al. 2023, arXiv:2302.05442, section 2.

Shapes: B sequences, T tokens, D width, H heads, N = B H heads of all sequences, E = D / H width of
a head, R = E / 2 its pairs, V vocabulary.
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
    """Symbols that a token can be."""
    context: int = Field(gt=0)
    """Tokens of a sequence."""
    width: int = Field(gt=0)
    layers: int = Field(gt=0)
    heads: int = Field(gt=0)
    norm: Literal["pre", "post"]
    """Whether the input of attention and perceptron is normalised, or its sum with their output."""
    qk_norm: bool
    """Whether each head's queries and keys are normalised."""
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
    """Tokens to the logits of the tokens after them.

    Args:
        config: sizes.
    """

    turns_T31R: Tensor
    mask_TT: Tensor

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.embedding = nn.Embedding(config.vocabulary, config.width)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.layers))
        pre_norm = config.norm == "pre"  # else the last block ends with a norm
        self.norm = nn.LayerNorm(config.width, bias=False) if pre_norm else nn.Identity()
        self.head = nn.Linear(config.width, config.vocabulary, bias=False)
        turns_T31R = rotary_turns(config.context, config.width // config.heads)
        self.register_buffer("turns_T31R", turns_T31R, persistent=False)
        self.register_buffer("mask_TT", causal_mask(config.context), persistent=False)
        draw_weights(self, config.width)

    def forward(self, tokens_BT: Tensor) -> Tensor:
        """Return logits, (B, T, V) float32; those at t depend on tokens 0 … t alone.

        Args:
            tokens_BT: int64, at most as many a sequence as the context.
        """
        x_BTD = self.embedding(tokens_BT)
        context = tokens_BT.shape[1]
        turns_T31R, mask_TT = self.turns_T31R[:context], self.mask_TT[:context, :context]
        for block in self.blocks:
            x_BTD = block(x_BTD, turns_T31R, mask_TT)
        logits_BTV: Tensor = self.head(self.norm(x_BTD))
        return logits_BTV


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
        self.attention = Attention(width, config.heads, config.qk_norm, config.fused)
        self.norm2 = nn.LayerNorm(width, bias=False)
        self.up = nn.Linear(width, 4 * width, bias=False)
        self.down = nn.Linear(4 * width, width, bias=False)
        self.drop1, self.drop2 = BranchDrop(), BranchDrop()

    def forward(self, x_BTD: Tensor, turns_T31R: Tensor, mask_TT: Tensor) -> Tensor:
        """Return (B, T, D) float32."""
        if self.post_norm:
            x_BTD = self.norm1(x_BTD + self.attend(x_BTD, turns_T31R, mask_TT))
            normed_BTD: Tensor = self.norm2(x_BTD + self.perceive(x_BTD))
            return normed_BTD
        x_BTD = x_BTD + self.attend(self.norm1(x_BTD), turns_T31R, mask_TT)
        return x_BTD + self.perceive(self.norm2(x_BTD))

    def attend(self, x_BTD: Tensor, turns_T31R: Tensor, mask_TT: Tensor) -> Tensor:
        """Return the attention's output, (B, T, D) float32."""
        y_BTD: Tensor = self.drop1(self.attention(x_BTD, turns_T31R, mask_TT))
        return y_BTD

    def perceive(self, x_BTD: Tensor) -> Tensor:
        """Return the perceptron's output, (B, T, D) float32."""
        y_BTD: Tensor = self.drop2(self.down(F.gelu(self.up(x_BTD))))
        return y_BTD


class Attention(nn.Module):
    """Causal multi-head attention with rotary positions.

    Args:
        width: D.
        heads: H.
        qk_norm: whether each head's queries and keys are normalised, before they are turned.
        fused: whether attention is PyTorch's fused kernel.
    """

    def __init__(self, width: int, heads: int, qk_norm: bool, fused: bool = False) -> None:
        super().__init__()
        self.heads = heads
        self.fused = fused
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.q_norm = nn.LayerNorm(width // heads, bias=False) if qk_norm else None
        self.k_norm = nn.LayerNorm(width // heads, bias=False) if qk_norm else None
        self.out = nn.Linear(width, width, bias=False)

    def forward(self, x_BTD: Tensor, turns_T31R: Tensor, mask_TT: Tensor) -> Tensor:
        """Return (B, T, D) float32.

        Args:
            x_BTD: float32.
            turns_T31R: complex64, of `rotary_turns`.
            mask_TT: float32, added to scores; of `causal_mask`.
        """
        qkv_BT3HE = self.qkv(x_BTD).unflatten(2, (3, self.heads, -1))
        if self.q_norm and self.k_norm:
            q_BTHE, k_BTHE, v_BTHE = qkv_BT3HE.unbind(2)
            qkv_BT3HE = torch.stack([self.q_norm(q_BTHE), self.k_norm(k_BTHE), v_BTHE], dim=2)
        if self.fused:
            y_BHTE = self._attend_fused(qkv_BT3HE, turns_T31R)
        else:
            y_BHTE = self._attend(qkv_BT3HE, turns_T31R, mask_TT)
        y_BTD: Tensor = self.out(y_BHTE.transpose(1, 2).flatten(2))
        return y_BTD

    def _attend(self, qkv_BT3HE: Tensor, turns_T31R: Tensor, mask_TT: Tensor) -> Tensor:
        qkv_BT3HR2 = qkv_BT3HE.unflatten(4, (-1, 2))
        # One complex product turns all three; slices of it, turned apart, would cost more copies.
        turned_BT3HR = torch.view_as_complex(qkv_BT3HR2) * turns_T31R
        turned_BT3HE = torch.view_as_real(turned_BT3HR).flatten(-2)
        # Three products take two thirds of the time of PyTorch's fused kernel for CPUs, whose tiles
        # are made for wider heads and longer sequences.
        q_NTE, k_NTE, v_NTE = turned_BT3HE.permute(2, 0, 3, 1, 4).flatten(1, 2)
        shares_NTT = torch.baddbmm(mask_TT, q_NTE, k_NTE.mT).softmax(dim=-1)
        return torch.bmm(shares_NTT, v_NTE).unflatten(0, (-1, self.heads))

    def _attend_fused(self, qkv_BT3HE: Tensor, turns_T31R: Tensor) -> Tensor:
        q_BHTE, k_BHTE, v_BHTE = turn_pairs(qkv_BT3HE, turns_T31R).permute(2, 0, 3, 1, 4)
        # Queries have been scaled with their turn.
        return F.scaled_dot_product_attention(q_BHTE, k_BHTE, v_BHTE, is_causal=True, scale=1.0)


def turn_pairs(x_E: Tensor, turns_R: Tensor) -> Tensor:
    """Return features, (…, E), with each neighbouring pair turned in its plane, in their own type.

    The same as a product of complex numbers, which bfloat16 has none of.

    Args:
        x_E: any type.
        turns_R: complex64, of `rotary_turns`.
    """
    cosine_R, sine_R = turns_R.real.to(x_E.dtype), turns_R.imag.to(x_E.dtype)
    a_R, b_R = x_E.unflatten(-1, (-1, 2)).unbind(-1)
    turned_R2 = torch.stack([a_R * cosine_R - b_R * sine_R, a_R * sine_R + b_R * cosine_R], dim=-1)
    return turned_R2.flatten(-2)


def causal_mask(context: int) -> Tensor:
    """Return what hides later tokens when added to scores, (T, T) float32: minus infinity."""
    return torch.full((context, context), -torch.inf).triu(1)


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
