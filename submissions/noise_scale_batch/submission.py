"""A batch size in proportion to the simple noise scale tr(Sigma) / |G|^2.

Both are estimated every so many steps from the squared norms of the gradients of halves of a batch
and of the whole, and averaged over the estimates so far, the latest the most.

Source: McCandlish et al. 2018, arXiv:1812.06162, equations 2.9 and A.2.
"""

from collections.abc import Iterator
from typing import Any

from torch import Tensor

from bench.api import (
    Batch,
    Hparams,
    Recipe,
    RecipeSubmission,
    Task,
    mean_gradient,
    noise_scale,
    piece_gradients,
    scale_rate,
    squared_norm,
)

EVERY = 10
MEMORY = 0.8
LEAST, MOST = 0.5, 4.0
"""Of the workload's batch size."""


class NoiseScaleBatch(RecipeSubmission):
    """AdamW on batches as large as the noise asks for."""

    OWN = ("share",)

    def __init__(self, task: Task, hparams: Hparams, recipe: Recipe) -> None:
        super().__init__(task, hparams, recipe)
        self.size = self.present = task.batch_size
        self.rate = 1.0
        self.signal = self.noise = 0.0

    def batches(self) -> Iterator[Batch]:
        """Yield batches of the present size."""
        return self.task.data.loader(lambda: self.size)

    def gradients(self, batch: Batch) -> Tensor:
        """Take the gradients; now and then by halves, to see their noise."""
        self.present = len(batch)
        self.rate = scale_rate("sqrt", self.present / self.task.batch_size)
        return super().gradients(batch) if self.steps % EVERY else self._measure(batch)

    def factor(self) -> float:
        """Return the schedule's factor times that of this batch size."""
        # The schedule counts reference steps: how many batches there will be, nobody knows.
        before = self.task.data.delivered - self.present
        return self.recipe.schedule(before // self.task.batch_size) * self.rate

    def _measure(self, batch: Batch) -> Tensor:
        halves = batch.split(2)
        losses = [self.task.loss(half) for half in halves]
        found = piece_gradients(losses, self.trainable)
        whole = mean_gradient(found)
        for tensor, gradient in zip(self.trainable, whole, strict=True):
            tensor.grad = gradient
        small = sum(squared_norm(gradients) for gradients in found) / 2
        signal, noise = noise_scale(small, squared_norm(whole), len(halves[0]), len(batch))
        self.signal += (1 - MEMORY) * (signal - self.signal)
        self.noise += (1 - MEMORY) * (noise - self.noise)
        self._resize()
        return sum(losses[1:], start=losses[0]).detach() / 2

    def _resize(self) -> None:
        least, most = (round(share * self.task.batch_size) for share in (LEAST, MOST))
        if self.signal <= 0 or self.noise <= 0:
            return
        wanted = float(self.hparams["share"]) * self.noise / self.signal
        bounded = min(max(wanted, least), most, self.task.data.count)
        # Halves are equal, or else their mean would not be the gradient of the batch.
        self.size = max(2, 2 * int(bounded // 2))

    def state_dict(self) -> dict[str, Any]:
        """Return the state, the batch size, and what it is made of."""
        own = {"size": self.size, "signal": self.signal, "noise": self.noise}
        return super().state_dict() | own

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a state that `state_dict` gave."""
        super().load_state_dict(state)
        self.size, self.signal, self.noise = (state[n] for n in ("size", "signal", "noise"))
