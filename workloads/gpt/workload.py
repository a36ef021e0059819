"""The next byte of a novel, by a small transformer, or the next token of a text by a larger one.

An example is a window of T + 1 tokens; windows follow one another at stride T, so that every token
but a split's first is predicted exactly once in an epoch, from what is before it in its window. The
metric is in nats per token: per byte, where tokens are bytes.

Source: Radford et al. 2018, "Improving Language Understanding by Generative Pre-Training",
section 3.1, over bytes.

Shapes: B windows, T tokens, V vocabulary, N windows of a split.
"""

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bench import api
from bench.api import Batch, BenchError, Knob, ScaleConfig, Split, WorkloadConfig, parse

from .model import ModelConfig, Transformer


class Workload(api.Workload):
    """Transformer, and cross-entropy as both loss and metric."""

    KNOBS: ClassVar[Mapping[str, Knob]] = {
        "dropout": Knob(0.0, 0.0, 0.9),
        "stochastic_depth": Knob(0.0, 0.0, 0.9),
        "label_smoothing": Knob(0.0, 0.0, 0.9),
        "input_size": Knob(1.0, 0.125, 1.0),
    }

    def __init__(self, config: WorkloadConfig, scale: ScaleConfig) -> None:
        super().__init__(config, scale)
        self.settings = parse(scale.model, ModelConfig, f"workload '{config.name}', table model")

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
        """Tokens that a window predicts; the knob `input_size` is their share of the context."""
        return max(2, round(self.knobs["input_size"] * self.settings.context))

    @property
    def work_share(self) -> float:
        """Share of a window's tokens."""
        return self.tokens_per_example / self.settings.context

    def make_batch(self, split: Split, ids: Tensor, rng: torch.Generator) -> Batch:
        """Gather windows, and as targets the same one token on, both (B, T) int64."""
        windows_BT = self._windows(split)[ids, : self.tokens_per_example + 1].long()
        return Batch(ids, (windows_BT[:, :-1],), windows_BT[:, 1:])

    def forward(self, model: nn.Module, batch: Batch) -> Tensor:
        """Return logits, (B, T, V) float32."""
        logits_BTV: Tensor = model(*batch.inputs)
        return logits_BTV

    def example_losses(self, output: Tensor, batch: Batch) -> Tensor:
        """Return the mean cross-entropy of each window's tokens, (B,) float32 in nats."""
        targets = batch.targets.flatten()
        losses = F.cross_entropy(
            output.flatten(0, 1),
            targets,
            reduction="none",
            label_smoothing=self.knobs["label_smoothing"],
        )
        return losses.view_as(batch.targets).mean(dim=1)

    def evaluate(self, model: nn.Module, split: Split) -> float:
        """Return the mean cross-entropy over all windows of the split, in nats per token."""
        nats = 0.0
        every = torch.arange(self.count_examples(split), device=split["tokens"].device)
        for ids in every.split(self.scale.eval_batch_size):
            batch = self.make_batch(split, ids, torch.Generator())
            nats += self.example_losses(self.forward(model, batch), batch).double().sum().item()
        return nats / self.count_examples(split)

    def _windows(self, split: Split) -> Tensor:
        """Return a view of the split as windows, (N, T + 1), of its own integer type."""
        context = self.settings.context
        windows_NT: Tensor = split["tokens"].unfold(0, context + 1, context)
        return windows_NT
