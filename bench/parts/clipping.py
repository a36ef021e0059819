"""Gradient clipping."""

from collections.abc import Sequence

from torch import Tensor, nn


def clip_by_global_norm(parameters: Sequence[Tensor], max_norm: float) -> Tensor:
    """Scale all gradients in place by one factor, so that their joint 2-norm is within a bound.

    The device is not waited for.

    Args:
        parameters: those without a gradient are left out.
        max_norm: the bound.

    Returns:
        () float32, the norm before clipping.

    Source: Pascanu et al. 2013, arXiv:1211.5063, algorithm 1.
    """
    return nn.utils.clip_grad_norm_(parameters, max_norm)
