"""Prediction of masked bytes in the novels of Jane Austen, by a small transformer encoder.

An example is a window of T bytes; window k starts at byte k T. In each window the same number of
positions, 15 % rounded, is chosen; of these 80 % are masked, 10 % replaced, 10 % left as they are
(Devlin et al. 2018, arXiv:1810.04805, appendix A.1). Validation windows are masked from a fixed
seed. The metric is the mean over all chosen positions.

Shapes: B batch, T time, M masked positions, V vocabulary.
"""

import torch
import torch.nn.functional as F  # noqa: N812 - everybody's name for it
from torch import Tensor, nn

from bench import api
from bench.api import Batch, Split

from .model import Bert, ModelConfig

CHOSEN = 0.15
MASKED, REPLACED = 0.8, 0.1
EVALUATION_SEED = 0


class Workload(api.Workload):
    """Validation loss over masked positions, in nats per byte."""

    def __init__(self, config: api.WorkloadConfig, scale: api.ScaleConfig) -> None:
        super().__init__(config, scale)
        self.settings = api.parse(scale.model, ModelConfig, f"workload '{config.name}', model")
        self.chosen = round(CHOSEN * self.settings.sequence)

    @property
    def tokens_per_example(self) -> int:
        """Bytes of a window."""
        return self.settings.sequence

    def build_model(self) -> nn.Module:
        """Return the model with fresh weights."""
        return Bert(self.settings)

    def count_examples(self, split: Split) -> int:
        """Return the number of whole windows."""
        return len(split["tokens"]) // self.settings.sequence

    def make_batch(self, split: Split, ids: Tensor, rng: torch.Generator) -> Batch:
        """Gather windows and mask them anew."""
        sequence, vocabulary = self.settings.sequence, self.settings.vocabulary
        windows_BT = split["tokens"][ids.unsqueeze(1) * sequence + torch.arange(sequence)].long()
        keys_BT = torch.rand(windows_BT.shape, generator=rng)
        positions_BM = keys_BT.topk(self.chosen, dim=1, sorted=False).indices
        targets_BM = windows_BT.gather(1, positions_BM)
        fate_BM = torch.rand(targets_BM.shape, generator=rng)
        random_BM = torch.randint(vocabulary, targets_BM.shape, generator=rng)
        seen_BM = torch.where(fate_BM < MASKED + REPLACED, random_BM, targets_BM)
        seen_BM[fate_BM < MASKED] = vocabulary
        inputs_BT = windows_BT.scatter(1, positions_BM, seen_BM)
        return Batch(ids, (inputs_BT, positions_BM), targets_BM)

    def forward(self, model: nn.Module, batch: Batch) -> Tensor:
        """Return logits at the chosen positions, (B, M, V)."""
        return model(*batch.inputs)

    def example_losses(self, output: Tensor, batch: Batch) -> Tensor:
        """Return the mean loss of each window's chosen positions, (B,), in nats."""
        losses = F.cross_entropy(output.flatten(0, 1), batch.targets.flatten(), reduction="none")
        return losses.view(batch.targets.shape).mean(1)

    def evaluate(self, model: nn.Module, split: Split) -> float:
        """Return the mean loss over all chosen positions of the split, in nats."""
        count = self.count_examples(split)
        rng = torch.Generator().manual_seed(EVALUATION_SEED)
        masked = self.make_batch(split, torch.arange(count), rng)  # whole, whatever the batch size
        total = 0.0
        for ids in masked.ids.split(self.scale.eval_batch_size):
            part = Batch(ids, tuple(inputs[ids] for inputs in masked.inputs), masked.targets[ids])
            losses = self.example_losses(self.forward(model, part), part)
            total += losses.sum(dtype=torch.float64).item()
        return total / count
