"""The ResNet of CIFAR: a stem, three or four stages of n two-layer blocks, a head.

Three stages make depth 6n + 2, the paper's for CIFAR; four make 8n + 2, of which 18 is its
ResNet-18 behind CIFAR's stem.

The shortcut where a stage begins is the paper's option A: every other pixel, the new channels zero.
It has no weights and is what the paper used on CIFAR "in all cases".

Source: He et al. 2016, arXiv:1512.03385, section 4.2; initial weights of He et al. 2015,
arXiv:1502.01852. Variants: group norm of Wu and He 2018, arXiv:1803.08494; GELU of Hendrycks and
Gimpel 2016, arXiv:1606.08415.

Shapes: B pictures, C channels, H and W height and width in pixels, K classes.
"""

from collections.abc import Callable
from functools import partial
from typing import Literal

from pydantic import Field, ValidationInfo, field_validator
from torch import Tensor, nn
from torch.nn import functional as F

from bench.api import BranchDrop, Table

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": partial(F.relu, inplace=True),
    "gelu": F.gelu,
}
GROUPS = 8
"""Of channels that group norm treats together."""


class ModelConfig(Table):
    """Which ResNet."""

    stages: int = Field(default=3, ge=3, le=4)
    depth: int
    width: int = Field(gt=0, multiple_of=GROUPS)
    """Channels of the first stage; each later stage has twice as many as the one before."""
    in_channels: int = Field(gt=0)
    num_classes: int = Field(gt=1)
    norm: Literal["batch", "group"]
    activation: Literal["relu", "gelu"]

    @field_validator("depth")
    @classmethod
    def _fills_stages(cls, depth: int, info: ValidationInfo) -> int:
        layers = 2 * info.data.get("stages", 3)
        if depth < layers + 2 or depth % layers != 2:
            few = ", ".join(str(layers * n + 2) for n in (1, 2, 3))
            raise ValueError(f"depth is {few}, … ({layers}n + 2), not {depth}")
        return depth


class ResNet(nn.Module):
    """Pictures to logits.

    Args:
        config: depth, widths and norm.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        widths = [config.width << stage for stage in range(config.stages)]
        blocks_per_stage = (config.depth - 2) // (2 * config.stages)
        self.stem = _conv3x3(config.in_channels, config.width, stride=1)
        self.norm = _norm(config.norm, config.width)
        self.activate = ACTIVATIONS[config.activation]
        self.blocks = nn.Sequential()
        channels = config.width
        for width in widths:
            for _ in range(blocks_per_stage):
                self.blocks.append(Block(channels, width, config.norm, config.activation))
                channels = width
        self.head = nn.Linear(channels, config.num_classes)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Return logits, (B, K) float32.

        Args:
            x_BCHW: float32; fastest when its channels are last in memory, as then are all others.
        """
        x_BCHW = self.activate(self.norm(self.stem(x_BCHW)))
        x_BC = self.blocks(x_BCHW).mean(dim=(2, 3))
        logits_BK: Tensor = self.head(x_BC)
        return logits_BK


class Block(nn.Module):
    """Two convolutions beside a shortcut; halves height and width where channels become more.

    Args:
        channels: that come in.
        width: channels that go out, at least as many.
        norm: after each convolution.
        activation: after the first norm, and after the sum.
    """

    def __init__(self, channels: int, width: int, norm: str, activation: str) -> None:
        super().__init__()
        self.new_channels = width - channels
        self.stride = 2 if self.new_channels else 1
        self.conv1 = _conv3x3(channels, width, self.stride)
        self.norm1 = _norm(norm, width)
        self.conv2 = _conv3x3(width, width, stride=1)
        self.norm2 = _norm(norm, width)
        self.activate = ACTIVATIONS[activation]
        self.drop = BranchDrop()

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Return float32 of the same shape, or of twice the channels and half the height, width."""
        y_BCHW = self.activate(self.norm1(self.conv1(x_BCHW)))
        y_BCHW = self.drop(self.norm2(self.conv2(y_BCHW)))
        if self.new_channels:
            # Pooling over one pixel takes every other one, and keeps the order of memory, in which
            # the backward pass of plain slicing would be slow.
            x_BCHW = F.avg_pool2d(x_BCHW, kernel_size=1, stride=self.stride)
            x_BCHW = F.pad(x_BCHW, (0, 0, 0, 0, 0, self.new_channels))
        y_BCHW += x_BCHW
        return self.activate(y_BCHW)


def _conv3x3(channels: int, width: int, stride: int) -> nn.Conv2d:
    conv = nn.Conv2d(channels, width, kernel_size=3, stride=stride, padding=1, bias=False)
    nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
    return conv


def _norm(kind: str, channels: int) -> nn.Module:
    return nn.BatchNorm2d(channels) if kind == "batch" else nn.GroupNorm(GROUPS, channels)
