"""Pictures told apart by a small ResNet, cropped and mirrored at random; accuracy.

Source: He et al. 2016, arXiv:1512.03385, section 4.2. Variant: label noise of Zhang et al. 2017,
arXiv:1611.03530, section 2.

Shapes: N pictures of a split, B of a batch, C channels, H and W height and width in pixels, P of
the padded picture, K classes.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from bench import api
from bench.api import Batch, Knob, ScaleConfig, Split, WorkloadConfig, parse

from .model import ModelConfig, ResNet

WHITE = 255
NOISE_SEED = 1611_03530


class Settings(ModelConfig):
    """The scale's table `model`: which ResNet, and what is done to its pictures."""

    pixel_mean: float
    """Of the training split, all channels together, where black is 0 and white is 1."""
    pixel_std: float = Field(gt=0)
    crop_padding: int = Field(ge=0)
    """Black pixels on each side, within which a picture is cropped to its size."""
    label_noise: float = Field(ge=0, lt=1)
    """Share of training labels in whose place is one drawn from all classes, always the same."""


class Workload(api.Workload):
    """ResNet, cross-entropy and accuracy."""

    KNOBS: ClassVar[Mapping[str, Knob]] = {
        "dropout": Knob(0.0, 0.0, 0.9),
        "stochastic_depth": Knob(0.0, 0.0, 0.9),
        "label_smoothing": Knob(0.0, 0.0, 0.9),
        "input_size": Knob(1.0, 0.25, 1.0),
    }

    def __init__(self, config: WorkloadConfig, scale: ScaleConfig) -> None:
        super().__init__(config, scale)
        self.settings = parse(scale.model, Settings, f"workload '{config.name}', table model")

    def build_model(self) -> nn.Module:
        """Return the ResNet with fresh weights."""
        return ResNet(self.settings)

    def count_examples(self, split: Split) -> int:
        """Return the number of pictures."""
        return len(split["labels"])

    def make_batch(self, split: Split, ids: Tensor, rng: torch.Generator) -> Batch:
        """Gather pictures, (B, C, H, W) float32, each cropped and mirrored anew."""
        images_BCHW = crop_and_mirror(split["images"][ids], self.settings.crop_padding, rng)
        x_BCHW = self._shrink(self._normalise(images_BCHW))
        return Batch(ids, (x_BCHW,), self._noisy_labels(split, ids))

    @property
    def work_share(self) -> float:
        """Share of a picture's pixels; the knob `input_size` is the share of its side."""
        return self.knobs["input_size"] ** 2

    def labels(self, split: Split) -> Tensor:
        """Return the class of each picture, with the noise that training sees."""
        every = torch.arange(self.count_examples(split), device=split["labels"].device)
        return self._noisy_labels(split, every)

    def forward(self, model: nn.Module, batch: Batch) -> Tensor:
        """Return logits, (B, K) float32."""
        logits_BK: Tensor = model(*batch.inputs)
        return logits_BK

    def example_losses(self, output: Tensor, batch: Batch) -> Tensor:
        """Return the cross-entropy of each picture, (B,) float32 in nats."""
        smoothing = self.knobs["label_smoothing"]
        return F.cross_entropy(output, batch.targets, reduction="none", label_smoothing=smoothing)

    def evaluate(self, model: nn.Module, split: Split) -> float:
        """Return the accuracy over all pictures of the split, as they are."""
        correct = 0
        every = torch.arange(self.count_examples(split), device=split["labels"].device)
        for ids in every.split(self.scale.eval_batch_size):
            logits_BK = model(self._normalise(split["images"][ids]))
            correct += int((logits_BK.argmax(dim=1) == split["labels"][ids]).sum())
        return correct / self.count_examples(split)

    def _noisy_labels(self, split: Split, ids: Tensor) -> Tensor:
        labels_B = split["labels"][ids]
        if not self.settings.label_noise:
            return labels_B
        noisy_N, drawn_N = draw_label_noise(
            self.count_examples(split),
            self.settings.label_noise,
            self.settings.num_classes,
            labels_B.device,
        )
        return drawn_N[ids].where(noisy_N[ids], labels_B)

    def _shrink(self, x_BCHW: Tensor) -> Tensor:
        if self.knobs["input_size"] == 1:
            return x_BCHW
        side = max(4, round(self.knobs["input_size"] * x_BCHW.shape[2]))
        return F.interpolate(x_BCHW, size=(side, side), mode="area")

    def _normalise(self, images_BCHW: Tensor) -> Tensor:
        scale = 1 / (WHITE * self.settings.pixel_std)
        offset = self.settings.pixel_mean / self.settings.pixel_std
        x_BCHW = images_BCHW.to(torch.float32, memory_format=torch.channels_last)
        return x_BCHW.mul_(scale).sub_(offset)


@lru_cache(maxsize=1)
def draw_label_noise(
    count: int, share: float, classes: int, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Return which of N examples have a wrong label, (N,) bool, and what it may be, (N,) int64.

    Args:
        count: N.
        share: of examples whose label is drawn; one in K of them is right by chance.
        classes: K.
        device: that both are to lie on; the draw is the same on any.
    """
    rng = torch.Generator().manual_seed(NOISE_SEED)
    noisy_N = torch.rand(count, generator=rng) < share
    drawn_N = torch.randint(classes, (count,), generator=rng)
    return noisy_N.to(device), drawn_N.to(device)


def crop_and_mirror(images_BCHW: Tensor, padding: int, rng: torch.Generator) -> Tensor:
    """Return the pictures, each cropped at random within a black margin, and half of them mirrored.

    Args:
        images_BCHW: uint8.
        padding: width of the margin, in pixels.
        rng: draws each picture's row, column and whether it is mirrored; on the same device.

    Returns:
        (B, C, H, W) uint8, channels last in memory.
    """
    batch_size, _, height, width = images_BCHW.shape
    padded_BCPP = F.pad(images_BCHW, (padding,) * 4)
    device = images_BCHW.device
    shape = (2, batch_size, 1)
    top_B1, left_B1 = torch.randint(2 * padding + 1, shape, generator=rng, device=device)
    mirrored_B1 = torch.randint(2, (batch_size, 1), generator=rng, device=device).bool()
    rows_BH = top_B1 + torch.arange(height, device=device)
    columns_W = torch.arange(width, device=device)
    columns_BW = left_B1 + torch.where(mirrored_B1, columns_W.flip(0), columns_W)
    pictures_B11 = torch.arange(batch_size, device=device)[:, None, None]
    cropped_BHWC = padded_BCPP[pictures_B11, :, rows_BH[:, :, None], columns_BW[:, None, :]]
    return cropped_BHWC.permute(0, 3, 1, 2)
