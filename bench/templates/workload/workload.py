"""A workload to start from: a perceptron that tells pictures of clothes apart.

Shapes: B batch, D pixels of a picture, K classes.
"""

import torch
from torch import Tensor, nn

from bench import api
from bench.api import Batch, ScaleConfig, Split, WorkloadConfig, parse

from .model import ModelConfig, Perceptron

CLASSES = 10
LEVELS = 255
"""Pixels are bytes, 0 … 255."""


class Workload(api.Workload):
    """Perceptron, cross-entropy and accuracy."""

    def __init__(self, config: WorkloadConfig, scale: ScaleConfig) -> None:
        super().__init__(config, scale)
        self.settings = parse(scale.model, ModelConfig, f"workload '{config.name}', table model")

    def build_model(self) -> nn.Module:
        """Return the perceptron with fresh weights."""
        return Perceptron(pixels=28 * 28, width=self.settings.width, classes=CLASSES)

    def count_examples(self, split: Split) -> int:
        """Return the number of pictures."""
        return len(split["labels"])

    def make_batch(self, split: Split, ids: Tensor, rng: torch.Generator) -> Batch:
        """Gather pictures, (B, D) float32 in 0 … 1, as they are."""
        x_BD = split["images"][ids].flatten(1).float() / LEVELS
        return Batch(ids, (x_BD,), split["labels"][ids])

    def forward(self, model: nn.Module, batch: Batch) -> Tensor:
        """Return logits, (B, K) float32."""
        logits_BK: Tensor = model(*batch.inputs)
        return logits_BK

    def example_losses(self, output: Tensor, batch: Batch) -> Tensor:
        """Return the cross-entropy of each picture, (B,) float32."""
        return nn.functional.cross_entropy(output, batch.targets, reduction="none")

    def evaluate(self, model: nn.Module, split: Split) -> float:
        """Return the accuracy over the whole split."""
        ids = torch.arange(self.count_examples(split), device=split["labels"].device)
        correct = 0
        for part in torch.split(ids, self.scale.eval_batch_size):
            batch = self.make_batch(split, part, torch.Generator())
            hits = self.forward(model, batch).argmax(dim=1) == batch.targets
            correct += int(hits.sum())
        return correct / len(ids)
