"""Masked bytes of a novel, or masked tokens of a text, by a transformer encoder.

An example is a window of T tokens; windows follow one another without overlap. The metric is in
nats per masked token: per byte, where tokens are bytes.

Source: Devlin et al. 2019, arXiv:1810.04805, section 3.1 (task 1) and appendix A.1, over bytes.
Variant: the masking of Wettig et al. 2023, arXiv:2202.08005, section 3.

Shapes: B windows, T tokens, K masked tokens of each window, V vocabulary, N windows of a split.
"""

from collections.abc import Mapping
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from bench import api
from bench.api import Batch, BenchError, Knob, ScaleConfig, Split, WorkloadConfig, parse

from .model import ModelConfig, Transformer

HIDDEN_SHARE = 0.8
REPLACED_SHARE = 0.1
"""Both of masked tokens."""
EVAL_SEED = 1810_04805


class Settings(ModelConfig):
    """The scale's table `model`: which transformer, and how much of its input is masked."""

    masked_share: float = Field(gt=0, lt=1)
    """Of a window's tokens."""


class Workload(api.Workload):
    """Transformer encoder, and cross-entropy at masked positions as both loss and metric."""

    KNOBS: ClassVar[Mapping[str, Knob]] = {
        "dropout": Knob(0.0, 0.0, 0.9),
        "stochastic_depth": Knob(0.0, 0.0, 0.9),
        "label_smoothing": Knob(0.0, 0.0, 0.9),
        "input_size": Knob(1.0, 0.125, 1.0),
        "masked_share": Knob(0.15, 0.01, 0.9),
    }

    def __init__(self, config: WorkloadConfig, scale: ScaleConfig) -> None:
        super().__init__(config, scale)
        self.settings = parse(scale.model, Settings, f"workload '{config.name}', table model")
        self.knobs["masked_share"] = self.settings.masked_share

    def build_model(self) -> nn.Module:
        """Return the transformer with fresh weights."""
        return Transformer(self.settings)

    def count_examples(self, split: Split) -> int:
        """Return the number of whole windows.

        Raises:
            BenchError: if the data has more symbols than the model.
        """
        symbols = len(split["vocabulary"])
        if symbols > self.settings.vocabulary:
            message = f"the data has {symbols} symbols, the model {self.settings.vocabulary}"
            raise BenchError(message, f"write vocabulary = {symbols} in workload.toml")
        return len(self._windows(split))

    @property
    def tokens_per_example(self) -> int:
        """Tokens of a window, masked or not; `input_size` is their share of the context."""
        return max(2, round(self.knobs["input_size"] * self.settings.context))

    @property
    def work_share(self) -> float:
        """Share of a window's tokens."""
        return self.tokens_per_example / self.settings.context

    def make_batch(self, split: Split, ids: Tensor, rng: torch.Generator) -> Batch:
        """Gather windows, and mask tokens of each.

        Inputs are the tokens (B, T) and the masked positions (B, K), targets the tokens that were
        there, (B, K); all int64.
        """
        tokens_BT = self._windows(split)[ids, : self.tokens_per_example].long()
        tokens_BT, positions_BK, targets_BK = mask_tokens(
            tokens_BT, self.settings.vocabulary, self.knobs["masked_share"], rng
        )
        return Batch(ids, (tokens_BT, positions_BK), targets_BK)

    def forward(self, model: nn.Module, batch: Batch) -> Tensor:
        """Return logits at the masked positions, (B, K, V) float32."""
        logits_BKV: Tensor = model(*batch.inputs)
        return logits_BKV

    def example_losses(self, output: Tensor, batch: Batch) -> Tensor:
        """Return the mean cross-entropy of each window's masked tokens, (B,) float32 in nats."""
        targets = batch.targets.flatten()
        losses = F.cross_entropy(
            output.flatten(0, 1),
            targets,
            reduction="none",
            label_smoothing=self.knobs["label_smoothing"],
        )
        return losses.view_as(batch.targets).mean(dim=1)

    def evaluate(self, model: nn.Module, split: Split) -> float:
        """Return the mean cross-entropy over all masked tokens of the split, always the same."""
        device = split["tokens"].device
        every = torch.arange(self.count_examples(split), device=device)
        masked = self.make_batch(split, every, torch.Generator(device).manual_seed(EVAL_SEED))
        nats = 0.0
        for ids in every.split(self.scale.eval_batch_size):
            batch = Batch(ids, tuple(tensor[ids] for tensor in masked.inputs), masked.targets[ids])
            nats += self.example_losses(self.forward(model, batch), batch).double().sum().item()
        return nats / len(every)

    def _windows(self, split: Split) -> Tensor:
        """Return a view of the split as windows, (N, T), of its own integer type."""
        context = self.settings.context
        windows_NT: Tensor = split["tokens"].unfold(0, context, context)
        return windows_NT


def mask_tokens(
    tokens_BT: Tensor, vocabulary: int, share: float, rng: torch.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """Mask the same number of tokens, K = round(share T), in every sequence.

    A masked token is hidden by [MASK] (80 %), replaced by any symbol (10 %), or left as it is.

    Args:
        tokens_BT: int64.
        vocabulary: number of symbols; [MASK] is the one after the last.
        share: of tokens that are masked.
        rng: draws positions, and what becomes of each; on the same device.

    Returns:
        The tokens to be seen, (B, T), the masked positions, (B, K), and what was there, (B, K).
    """
    batch_size, context = tokens_BT.shape
    count = max(1, round(share * context))
    device = tokens_BT.device
    order_BT = torch.rand(batch_size, context, generator=rng, device=device)
    positions_BK = order_BT.topk(count, dim=1).indices
    targets_BK = tokens_BT.gather(1, positions_BK)
    fate_BK = torch.rand(batch_size, count, generator=rng, device=device)
    symbols_BK = torch.randint(vocabulary, (batch_size, count), generator=rng, device=device)
    shown_BK = targets_BK.where(fate_BK >= HIDDEN_SHARE + REPLACED_SHARE, symbols_BK)
    shown_BK = shown_BK.masked_fill(fate_BK < HIDDEN_SHARE, vocabulary)
    return tokens_BT.scatter(1, positions_BK, shown_BK), positions_BK, targets_BK
