"""What a submission is handed: model, loss, parameters by role, training data and budget."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from bench.budget import Budget
from bench.config import Role
from bench.seeds import derive_seed
from bench.training_data import TrainingData
from bench.workload import Batch, Workload

Reduction = Literal["mean", "sum", "none"]


@dataclass(frozen=True, slots=True)
class Parameter:
    """A trainable tensor of the model, and what is known of it.

    Attributes:
        name: as in `model.named_parameters()`; a tied tensor appears once, under its first name.
        tensor: the parameter itself.
        role: what it does in the model.
        depth: of the module that holds it, counted over such modules in the order of definition,
            0 first.
        fan_in: inputs that an output sums over; of an embedding the vocabulary (its input is
            one-hot), of a vector 1.
        fan_out: outputs that an input feeds.
    """

    name: str
    tensor: nn.Parameter
    role: Role
    depth: int
    fan_in: int
    fan_out: int


class Task:
    """Everything that a submission may use.

    Args:
        workload: model, loss and batches.
        model: the model to train, in place.
        data: the training set.
        budget: what may be spent.
        seed: of the trial.

    Attributes:
        parameters: the trainable parameters, in the model's order, each once.
        batch_size: examples in a reference step.
        loss_lower_bound: nats that no training loss can go below.
        rng: a generator of the submission's own, on the CPU.
        forward_examples: that have gone through `forward` or `loss`, each as often as it did.
        backward_examples: of these, those that a gradient could be taken of.
        device: where the model lies.
    """

    def __init__(
        self, workload: Workload, model: nn.Module, data: TrainingData, budget: Budget, seed: int
    ) -> None:
        self.model = model
        self.data = data
        self.budget = budget
        self.seed = seed
        self.parameters = list_parameters(model)
        self.batch_size = workload.scale.batch_size
        self.loss_lower_bound = workload.config.loss_lower_bound
        self.rng = torch.Generator().manual_seed(
            derive_seed(seed, workload.config.name, "submission")
        )
        self.device = next(model.parameters()).device
        self.forward_examples = 0
        self.backward_examples = 0
        self._workload = workload

    def forward(self, batch: Batch) -> Tensor:
        """Return the model's output for a batch, as the workload's loss takes it."""
        self.forward_examples += len(batch)
        self.backward_examples += len(batch) if torch.is_grad_enabled() else 0
        return self._workload.forward(self.model, batch)

    def loss(self, batch: Batch, reduction: Reduction = "mean") -> Tensor:
        """Return the training loss at the model's present weights, as often as wanted.

        Args:
            batch: any batch of `data`.
            reduction: over the examples.

        Returns:
            () float32, or (B,) with reduction "none"; nats per example.
        """
        losses = self._workload.example_losses(self.forward(batch), batch)
        if reduction == "none":
            return losses
        return losses.mean() if reduction == "mean" else losses.sum()


def list_parameters(model: nn.Module) -> list[Parameter]:
    """Return the trainable parameters of a model with their roles."""
    found: list[Parameter] = []
    seen: set[int] = set()
    depth = 0
    for path, module in model.named_modules():
        own = [
            (name, tensor)
            for name, tensor in module.named_parameters(path, recurse=False)
            if tensor.requires_grad and id(tensor) not in seen
        ]
        seen |= {id(tensor) for _, tensor in own}
        for name, tensor in own:
            fan_in, fan_out = _fans(module, tensor)
            role = _role(name, module, tensor)
            found.append(Parameter(name, tensor, role, depth, fan_in, fan_out))
        depth += bool(own)
    return found


def _role(name: str, module: nn.Module, tensor: Tensor) -> Role:
    *path, attribute = name.split(".")
    if _is_norm(module):
        return "norm"
    if attribute == "bias" or tensor.ndim < 2:
        return "bias"
    if "head" in path:
        return "head"
    if isinstance(module, nn.Embedding):
        return "embedding"
    return "conv" if isinstance(module, nn.modules.conv._ConvNd) else "matrix"


def _is_norm(module: nn.Module) -> bool:
    return isinstance(module, _NormBase) or type(module).__name__.endswith("Norm")


def _fans(module: nn.Module, tensor: Tensor) -> tuple[int, int]:
    if tensor.ndim < 2:
        return 1, tensor.numel()
    rows, columns, *kernel = tensor.shape
    if isinstance(module, nn.Embedding):
        return rows, columns
    taps = torch.Size(kernel).numel()
    return columns * taps, rows * taps
