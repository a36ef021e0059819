"""Image classification by a residual network; at micro scale on Fashion-MNIST.

Training images are shifted by up to a ninth of their side and flipped (He et al. 2015,
arXiv:1512.03385, section 4.2: 4 of 32 pixels), whole batches at once.

Shapes: B batch, C channels, H height, W width, N classes.
"""

import torch
import torch.nn.functional as F  # noqa: N812 - everybody's name for it
from torch import Tensor, nn

from bench import api
from bench.api import Batch, Split

from .model import ModelConfig, ResNet

SHIFT = 1 / 9


class Settings(ModelConfig):
    """Sizes of the model, and what its input is normalized by."""

    pixel_mean: float
    pixel_deviation: float


class Workload(api.Workload):
    """Accuracy on the validation images."""

    def __init__(self, config: api.WorkloadConfig, scale: api.ScaleConfig) -> None:
        super().__init__(config, scale)
        self.settings = api.parse(scale.model, Settings, f"workload '{config.name}', model")

    def build_model(self) -> nn.Module:
        """Return the model with fresh weights, laid out channels last, as CPUs convolve fastest."""
        model: nn.Module = ResNet(self.settings).to(memory_format=torch.channels_last)
        return model

    def count_examples(self, split: Split) -> int:
        """Return the number of images."""
        return len(split["labels"])

    def make_batch(self, split: Split, ids: Tensor, rng: torch.Generator) -> Batch:
        """Gather images, each shifted and perhaps flipped."""
        images_BCHW = split["images"][ids]
        side = images_BCHW.shape[-1]
        shift = round(SHIFT * side)
        padded = F.pad(images_BCHW, (shift, shift, shift, shift))
        top, left = torch.randint(2 * shift + 1, (2, len(ids), 1), generator=rng)
        flipped = torch.rand(len(ids), 1, generator=rng) < 0.5
        pixels = torch.arange(side)
        rows = top + pixels
        columns = left + torch.where(flipped, side - 1 - pixels, pixels)
        index = rows.unsqueeze(2) * (side + 2 * shift) + columns.unsqueeze(1)
        index = index.view(len(ids), 1, -1).expand(-1, images_BCHW.shape[1], -1)
        shifted = padded.flatten(2).gather(2, index).view(images_BCHW.shape)
        return Batch(ids, (self._normalize(shifted),), split["labels"][ids])

    def _normalize(self, images_BCHW: Tensor) -> Tensor:
        """Return pixels about 0, of about unit variance over the training images."""
        mean, deviation = self.settings.pixel_mean, self.settings.pixel_deviation
        return images_BCHW.float().sub_(mean).div_(deviation)

    def forward(self, model: nn.Module, batch: Batch) -> Tensor:
        """Return logits, (B, N)."""
        return model(*batch.inputs)

    def example_losses(self, output: Tensor, batch: Batch) -> Tensor:
        """Return the cross-entropy of each image, (B,), in nats."""
        return F.cross_entropy(output, batch.targets, reduction="none")

    def evaluate(self, model: nn.Module, split: Split) -> float:
        """Return the share of all the split's images that are classified as labelled."""
        correct = 0
        for ids in torch.arange(self.count_examples(split)).split(self.scale.eval_batch_size):
            logits = model(self._normalize(split["images"][ids]))
            correct += int((logits.argmax(1) == split["labels"][ids]).sum())
        return correct / self.count_examples(split)
