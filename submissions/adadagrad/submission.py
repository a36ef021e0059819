"""A batch size by the norm test, looked at every so many steps on pieces of a batch.

It never falls, and goes to eight times the workload's at most.

Source: Lau et al. 2024, arXiv:2402.11215, equation 5.
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
    pass_norm_test,
    piece_gradients,
)

EVERY = 10
PIECES = 4
MOST = 8


class AdAdaGrad(RecipeSubmission):
    """Adagrad on growing batches."""

    OWN = ("tolerance",)

    def __init__(self, task: Task, hparams: Hparams, recipe: Recipe) -> None:
        super().__init__(task, hparams, recipe)
        self.size = task.batch_size

    def batches(self) -> Iterator[Batch]:
        """Yield batches of the present size."""
        return self.task.data.loader(lambda: self.size)

    def gradients(self, batch: Batch) -> Tensor:
        """Take the gradients; now and then by pieces, to test them."""
        if self.steps % EVERY:
            return super().gradients(batch)
        losses = [self.task.loss(piece) for piece in batch.split(PIECES)]
        found = piece_gradients(losses, self.trainable)
        for tensor, gradients in zip(self.trainable, zip(*found, strict=True), strict=True):
            tensor.grad = sum(gradients[1:], start=gradients[0]) / PIECES
        wanted = pass_norm_test(found, len(batch), float(self.hparams["tolerance"]))
        most = min(MOST * self.task.batch_size, self.task.data.count) // PIECES
        # Pieces are equal, or else their mean would not be the gradient of the batch.
        self.size = max(self.size, min(-(-wanted // PIECES), most) * PIECES)
        return sum(losses[1:], start=losses[0]).detach() / PIECES

    def state_dict(self) -> dict[str, Any]:
        """Return the state, and the batch size."""
        return super().state_dict() | {"size": self.size}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a state that `state_dict` gave."""
        super().load_state_dict(state)
        self.size = state["size"]
