"""The model: one hidden layer. Shapes: B batch, D pixels, K classes."""

from pydantic import Field
from torch import Tensor, nn

from bench.api import Table


class ModelConfig(Table):
    """Which perceptron: what the table `model` of a scale says."""

    width: int = Field(gt=0)


class Perceptron(nn.Module):
    """Pixels to logits through one hidden layer.

    Args:
        pixels: D.
        width: of the hidden layer.
        classes: K.
    """

    def __init__(self, pixels: int, width: int, classes: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(pixels, width)
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, classes)

    def forward(self, x_BD: Tensor) -> Tensor:
        """Return logits, (B, K) float32."""
        logits_BK: Tensor = self.head(nn.functional.relu(self.norm(self.hidden(x_BD))))
        return logits_BK
