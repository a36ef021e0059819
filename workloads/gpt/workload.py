"""Next-byte prediction on the novels of Jane Austen, by a small decoder-only transformer.

An example is a window of T + 1 bytes; window k starts at byte k T, so windows share one byte and
every byte but the first is predicted once. The metric is the mean over all bytes predicted.

Shapes: B batch, T time, V vocabulary.
"""

import torch
import torch.nn.functional as F  # noqa: N812 - everybody's name for it
from torch import Tensor, nn

from bench import api
from bench.api import Batch, Split

from .model import GPT, ModelConfig


class Workload(api.Workload):
    """Validation loss in nats per byte."""

    def __init__(self, config: api.WorkloadConfig, scale: api.ScaleConfig) -> None:
        super().__init__(config, scale)
        self.settings = api.parse(scale.model, ModelConfig, f"workload '{config.name}', model")

    @property
    def tokens_per_example(self) -> int:
        """Bytes predicted in an example."""
        return self.settings.sequence

    def build_model(self) -> nn.Module:
        """Return the model with fresh weights."""
        return GPT(self.settings)

    def count_examples(self, split: Split) -> int:
        """Return the number of whole windows."""
        return (len(split["tokens"]) - 1) // self.settings.sequence

    def make_batch(self, split: Split, ids: Tensor, rng: torch.Generator) -> Batch:
        """Gather windows; nothing about them is random."""
        sequence = self.settings.sequence
        offsets = torch.arange(sequence + 1)
        windows = split["tokens"][ids.unsqueeze(1) * sequence + offsets].long()
        return Batch(ids, (windows[:, :-1],), windows[:, 1:])

    def forward(self, model: nn.Module, batch: Batch) -> Tensor:
        """Return logits of the next byte, (B, T, V)."""
        return model(*batch.inputs)

    def example_losses(self, output: Tensor, batch: Batch) -> Tensor:
        """Return the mean loss of each window, (B,), in nats per byte."""
        losses = F.cross_entropy(output.flatten(0, 1), batch.targets.flatten(), reduction="none")
        return losses.view(batch.targets.shape).mean(1)

    def evaluate(self, model: nn.Module, split: Split) -> float:
        """Return the mean loss over every byte of the split's whole windows, in nats."""
        total = 0.0
        count = self.count_examples(split)
        for ids in torch.arange(count).split(self.scale.eval_batch_size):
            batch = self.make_batch(split, ids, torch.Generator())
            losses = self.example_losses(self.forward(model, batch), batch)
            total += losses.sum(dtype=torch.float64).item()
        return total / count
