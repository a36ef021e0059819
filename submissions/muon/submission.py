"""Muon: momentum orthogonalised by Newton-Schulz iterations, for hidden matrices and kernels.

Embeddings, head, norms and biases are trained by AdamW, as its authors advise. A convolution's
kernel is seen as the (out, in * height * width) matrix that multiplies patches.

Source: Jordan et al. 2024, https://kellerjordan.github.io/posts/muon; Liu et al. 2025,
arXiv:2502.16982, section 2.2 for the update's size, by which Muon takes AdamW's learning rates.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from bench.api import Hparams, Parameter, Recipe, Role, Task, build_optimizer, make_schedule

ADAMW_BETAS = (0.9, 0.99)
DECAYED_BY_ADAMW: tuple[Role, ...] = ("embedding", "head")


class KernelMuon(torch.optim.Muon):
    """`torch.optim.Muon` over tensors of two or more dimensions, through matrix views of them.

    Args:
        kernels: with the output channels first.
        options: those of `torch.optim.Muon`.
    """

    def __init__(self, kernels: list[nn.Parameter], **options: Any) -> None:  # noqa: ANN401
        self.kernels = kernels
        self.matrices = [as_matrix(kernel.detach(), kernel) for kernel in kernels]
        super().__init__(self.matrices, **options)

    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Make one update from the kernels' gradients."""
        for kernel, matrix in zip(self.kernels, self.matrices, strict=True):
            matrix.grad = None if kernel.grad is None else as_matrix(kernel.grad, kernel)
        loss: float | None = super().step(closure)  # type: ignore[no-untyped-call]
        return loss


def as_matrix(tensor: Tensor, kernel: Tensor) -> Tensor:
    """Return a tensor as the matrix that a kernel is, its columns in the order of memory.

    Args:
        tensor: (O, …), the kernel, or its gradient.
        kernel: (O, …), dense in memory with O outermost, channels-last included.

    Returns:
        (O, rest), a view where the two lie alike in memory.
    """
    inner = sorted(range(1, kernel.ndim), key=kernel.stride, reverse=True)
    return tensor.permute(0, *inner).flatten(1)


def configure(task: Task, hparams: Hparams) -> Recipe:
    """Give hidden matrices and kernels to Muon, all else to AdamW."""
    numbers = {name: float(value) for name, value in hparams.items()}
    hidden = [p.tensor for p in task.parameters if is_hidden(p)]
    others = [p for p in task.parameters if not is_hidden(p)]
    decay = numbers["weight_decay"]
    muon = KernelMuon(
        hidden,
        lr=numbers["lr"],
        momentum=numbers["momentum"],
        weight_decay=decay,
        adjust_lr_fn="match_rms_adamw",
    )
    options = {"lr": numbers["adamw_lr"], "betas": ADAMW_BETAS, "weight_decay": decay}
    adamw = build_optimizer(torch.optim.AdamW, others, options, DECAYED_BY_ADAMW)
    horizon = round(numbers["horizon"] * task.budget.step_hint(task.batch_size))
    schedule = make_schedule("warmup_linear", max(1, horizon), warmup=numbers["warmup"])
    return Recipe(optimizers=[muon, adamw], schedule=schedule)


def is_hidden(parameter: Parameter) -> bool:
    """Say whether a parameter is a matrix between hidden layers."""
    return parameter.role in {"matrix", "conv"}
