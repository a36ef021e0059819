"""A place to try a plug-in: a few steps of a trial, in this process and without a referee."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bench import trainer_state
from bench.budget import Budget
from bench.clock import SystemClock
from bench.data.preparation import prepare
from bench.data.split import load_split
from bench.loading import load_submission
from bench.submission import Submission
from bench.tables import Hparams
from bench.task import Task
from bench.trainer import compute_repeatably
from bench.training_data import TrainingData
from bench.workload import Split, Workload, load_workload

SCALE = "smoke"
SEED = 0
SECONDS = 600.0


@contextmanager
def repeatable() -> Iterator[None]:
    """Make PyTorch deterministic as a trainer does, and leave no trace of it."""
    algorithms = torch.are_deterministic_algorithms_enabled()
    filled = torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
    compute_repeatably()
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        torch.use_deterministic_algorithms(algorithms)
        torch.utils.deterministic.fill_uninitialized_memory = filled  # type: ignore[attr-defined]


def open_workload(folder: Path, variant: str = "") -> Workload:
    """Import a workload or a variant at the smoke scale, and prepare its data if need be."""
    workload = load_workload(folder, SCALE, variant)
    prepare(workload.scale.data)
    return workload


class Attempt:
    """A submission at work on a fresh model."""

    def __init__(self, task: Task, submission: Submission) -> None:
        self.task = task
        self.submission = submission
        self._batches: Iterator[Any] | None = None

    def train(self, steps: int) -> list[Tensor]:
        """Make steps, and return what each returned."""
        self.task.model.train()
        self._batches = self._batches or self.submission.batches()
        return [self.submission.step(next(self._batches)) for _ in range(steps)]

    def weights(self) -> dict[str, Tensor]:
        """Return copies of the trainable tensors."""
        return {p.name: p.tensor.detach().clone() for p in self.task.parameters}

    def save(self) -> bytes:
        """Return the whole state as a checkpoint's file holds it."""
        return trainer_state.capture(self.task, self.submission, steps=0)

    def restore(self, saved: bytes) -> None:
        """Go on from a checkpoint; it may hold plain containers, numbers and tensors only."""
        trainer_state.restore(saved, self.task, self.submission)


@dataclass(frozen=True)
class Rig:
    """One submission on one workload, as often as wanted.

    Attributes:
        folder: of the submission.
        workload: at the smoke scale.
        split: its training data.
    """

    folder: Path
    workload: Workload
    split: Split

    @classmethod
    def open(cls, folder: Path, workload_folder: Path, variant: str = "") -> "Rig":
        """Load what a submission is tried on."""
        workload = open_workload(workload_folder, variant)
        return cls(folder, workload, load_split(workload.scale.data, "train"))

    def start(self, hparams: Hparams | None = None) -> Attempt:
        """Build model and submission afresh, always alike.

        Args:
            hparams: instead of the defaults.
        """
        torch.manual_seed(SEED)
        workload = type(self.workload)(self.workload.config, self.workload.scale)  # knobs untouched
        scale = workload.scale
        budget = Budget(scale.budget_steps * scale.batch_size, SECONDS, SystemClock())
        data = TrainingData(workload, self.split, SEED)
        model = workload.build_model().train()
        task = Task(workload, model, data, budget, SEED)
        return Attempt(task, load_submission(self.folder, task, hparams or {}))
