"""The way of weights from trainer to referee: shared memory that the referee lays out."""

import fcntl
import hashlib
import mmap
import os
from collections.abc import Iterator

import torch
from torch import Tensor, nn

ALIGNMENT = 64


class WeightBlock:
    """Anonymous shared memory with a place for every tensor of a model's state.

    Both sides lay it out from a pristine model of their own, so that names, shapes and types are
    never taken from the other side, and nothing is unpickled.

    Args:
        model: gives names, shapes and types; its values are not used.
        fd: a block made by the other side; None makes one.
    """

    def __init__(self, model: nn.Module, fd: int | None = None) -> None:
        state = model.state_dict()
        size = sum(_padded(tensor) for tensor in state.values())
        self.fd = _reserve(size) if fd is None else fd
        self._memory = mmap.mmap(self.fd, size)
        self._tensors = dict(self._lay_out(state))

    def _lay_out(self, state: dict[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
        offset = 0
        for name, tensor in state.items():
            flat = torch.frombuffer(
                self._memory, dtype=tensor.dtype, count=tensor.numel(), offset=offset
            )
            yield name, flat.view(tensor.shape)
            offset += _padded(tensor)

    def put(self, model: nn.Module) -> None:
        """Copy a model's state into the block.

        Raises:
            ValueError: if a name, shape or type is another than the pristine model's.
        """
        state = model.state_dict()
        if state.keys() != self._tensors.keys():
            changed = sorted(state.keys() ^ self._tensors.keys())
            raise ValueError(f"the model's tensors were renamed, added or removed: {changed[:4]}")
        for name, place in self._tensors.items():
            tensor = state[name]
            if tensor.shape != place.shape or tensor.dtype != place.dtype:
                raise ValueError(f"'{name}' is no longer {tuple(place.shape)} {place.dtype}")
            place.copy_(tensor)

    def take(self, model: nn.Module) -> None:
        """Copy the block into a model of the same layout."""
        state = model.state_dict()
        for name, place in self._tensors.items():
            state[name].copy_(place)

    def sha256(self) -> str:
        """Return a hash of all bytes in the block."""
        return hashlib.sha256(self._memory).hexdigest()

    def close(self) -> None:
        """Give the memory back."""
        self._tensors.clear()
        self._memory.close()
        os.close(self.fd)


def _reserve(size: int) -> int:
    """Return a descriptor of memory that nobody can shrink under the other's feet."""
    fd = os.memfd_create("bench-weights", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(fd, size)
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
    return fd


def _padded(tensor: Tensor) -> int:
    size = tensor.numel() * tensor.element_size()
    return -(-size // ALIGNMENT) * ALIGNMENT
