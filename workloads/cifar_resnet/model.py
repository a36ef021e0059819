"""The residual network for small images.

Source: He et al. 2015, arXiv:1512.03385, section 4.2: 6n + 2 layers in three stages, 3 x 3 kernels,
shortcuts without parameters (option A), global average pooling.

Shapes: B batch, C channels, H height, W width, N classes.
"""

import torch.nn.functional as F  # noqa: N812 - everybody's name for it
from torch import Tensor, nn

from bench.api import Table


class ModelConfig(Table):
    """Sizes of the model."""

    depth: int
    width: int
    channels: int
    classes: int


class Block(nn.Module):
    """Two convolutions beside a shortcut that has no parameters."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.added = outputs - inputs
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Return the block's output, of another size where it strides."""
        y_BCHW = F.relu(self.norm1(self.conv1(x_BCHW)), inplace=True)
        y_BCHW = self.norm2(self.conv2(y_BCHW))
        return F.relu(y_BCHW + self._shortcut(x_BCHW), inplace=True)

    def _shortcut(self, x_BCHW: Tensor) -> Tensor:
        if not self.added:
            return x_BCHW
        x_BCHW = x_BCHW[:, :, :: self.stride, :: self.stride]
        return F.pad(x_BCHW, (0, 0, 0, 0, 0, self.added))


class ResNet(nn.Module):
    """Images to logits of their classes."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        width, blocks = config.width, (config.depth - 2) // 6
        self.stem = nn.Conv2d(config.channels, width, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(width)
        sizes = [(width, 1)] * blocks
        sizes += [(2 * width, 2)] + [(2 * width, 1)] * (blocks - 1)
        sizes += [(4 * width, 2)] + [(4 * width, 1)] * (blocks - 1)
        inputs = [width, *(outputs for outputs, _ in sizes)]
        self.blocks = nn.Sequential(
            *(Block(i, o, stride) for i, (o, stride) in zip(inputs, sizes, strict=False))
        )
        self.head = nn.Linear(4 * width, config.classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """Return logits, (B, N)."""
        x_BCHW = F.relu(self.norm(self.stem(images_BCHW)), inplace=True)
        return self.head(self.blocks(x_BCHW).mean((2, 3)))
