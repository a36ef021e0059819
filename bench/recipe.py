"""The standard training step, composed of parts. Most submissions are a recipe and nothing more."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor
from torch.optim import Optimizer

from bench.config import RecipeConfig
from bench.errors import BenchError
from bench.optimizers import build_optimizer, find_optimizer, read_options, uncovered
from bench.parts.averaging import OPTIONS, MakeAverage, plan_average
from bench.parts.batch_norm import estimate_statistics, find_batch_norms, kept_statistics
from bench.parts.clipping import clip_by_global_norm, clip_by_unit, clip_by_value
from bench.parts.schedules import Schedule, list_options, make_schedule
from bench.submission import Submission
from bench.tables import Hparams, parse
from bench.task import Task
from bench.workload import Batch

TUNABLE = (
    "warmup", "horizon", "end_factor", "clip_norm", "clip_value", "clip_unit", "batch_size",
    "bn_batches",
)  # fmt: skip
"""Hyperparameters that set the recipe itself; any other is the optimizer's."""


Transform = Callable[[], None]
"""Changes the gradients in place."""


def _full_rate(step: int) -> float:
    return 1.0


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What the standard step is made of.

    Attributes:
        optimizers: hold every trainable parameter exactly once between them.
        schedule: from the steps made to the factor on the learning rate of every group.
        transforms: of the gradients, in place, before they are clipped by `clip_norm`.
        clip_norm: bound on the joint 2-norm of all gradients.
        average: makes what is judged in place of the weights; None judges these.
        batch_size: examples in a batch; None takes the workload's.
        bn_batches: training batches that re-estimate batch-norm statistics before judgement.
    """

    optimizers: Sequence[Optimizer]
    schedule: Schedule = field(default=_full_rate)
    transforms: Sequence[Transform] = ()
    clip_norm: float | None = None
    average: MakeAverage | None = None
    batch_size: int | None = None
    bn_batches: int = 0

    @classmethod
    def from_config(
        cls, config: RecipeConfig, task: Task, hparams: Hparams, folder: Path | None = None
    ) -> Self:
        """Build the recipe that `[recipe]` describes.

        Args:
            config: the table.
            task: whose parameters are trained.
            hparams: named like a field of the recipe, an option of its schedule, or an argument of
                the optimizer.
            folder: of the submission, for `file:Class`.

        Raises:
            BenchError: for whatever does not exist or does not fit.
        """
        config, others = _settle(config, hparams)
        kind = find_optimizer(config.optimizer, folder)
        options = read_options(kind, config.options | others)
        steps = task.budget.step_hint(config.batch_size or task.batch_size)
        horizon = max(1, round(config.horizon * steps))
        batch_ratio = (config.batch_size or task.batch_size) / task.batch_size
        return cls(
            optimizers=[build_optimizer(kind, task.parameters, options, config.decay_roles)],
            schedule=make_schedule(
                config.schedule,
                horizon,
                config.warmup,
                config.end_factor,
                **config.schedule_options,
            ),
            transforms=_clippings(config, task),
            clip_norm=config.clip_norm,
            average=plan_average(config.average, horizon, batch_ratio, **config.average_options)
            if config.average
            else None,
            batch_size=config.batch_size,
            bn_batches=config.bn_batches,
        )

    def validate(self, task: Task) -> None:
        """Check that the optimizers cover the model.

        Raises:
            BenchError: names the parameters that are not covered exactly once.
        """
        problems = uncovered(task.parameters, list(self.optimizers))
        if problems:
            names = ", ".join(f"{name} ({why})" for name, why in problems.items())
            raise BenchError(
                f"the optimizers do not cover every parameter exactly once: {names}",
                "give each of task.parameters to one optimizer",
            )


def _settle(config: RecipeConfig, hparams: Hparams) -> tuple[RecipeConfig, Hparams]:
    """Return the recipe with what hyperparameters change in it, and those of the optimizer."""
    shaping, averaging = list_options(config.schedule), OPTIONS.get(config.average or "", {})
    own = {name: value for name, value in hparams.items() if name in TUNABLE}
    options = {
        "schedule_options": config.schedule_options
        | {name: value for name, value in hparams.items() if name in shaping},
        "average_options": config.average_options
        | {name: value for name, value in hparams.items() if name in averaging},
    }
    known = {*own, *shaping, *averaging}
    others = {name: value for name, value in hparams.items() if name not in known}
    return parse(config.model_dump() | own | options, RecipeConfig, "hyperparameters"), others


def _clippings(config: RecipeConfig, task: Task) -> list[Transform]:
    made: list[Transform] = []
    if config.clip_unit is not None:
        inner = [parameter.tensor for parameter in task.parameters if parameter.role != "head"]
        made.append(partial(clip_by_unit, inner, config.clip_unit))
    if config.clip_value is not None:
        every = [parameter.tensor for parameter in task.parameters]
        made.append(partial(clip_by_value, every, config.clip_value))
    return made


class RecipeSubmission(Submission):
    """The submission that follows a recipe.

    Args:
        task: what is trained.
        hparams: that the recipe was made of.
        recipe: the parts.
    """

    def __init__(self, task: Task, hparams: Hparams, recipe: Recipe) -> None:
        super().__init__(task, hparams)
        recipe.validate(task)
        self.recipe = recipe
        self.steps = 0
        self._trainable: list[Tensor] = [parameter.tensor for parameter in task.parameters]
        self._average = recipe.average(self._trainable) if recipe.average else None
        self._base_lrs = [
            [group["lr"] for group in optimizer.param_groups] for optimizer in recipe.optimizers
        ]
        self._switch("train")

    def batches(self) -> Iterator[Batch]:
        """Yield batches in the trial's own order."""
        return self.task.data.loader(self.recipe.batch_size or self.task.batch_size)

    def step(self, batch: Batch) -> Tensor:
        """Make one update and return the loss before it, without waiting for the device."""
        for tensor in self._trainable:
            tensor.grad = None
        loss = self.task.loss(batch)
        loss.backward()  # type: ignore[no-untyped-call]
        for transform in self.recipe.transforms:
            transform()
        if self.recipe.clip_norm is not None:
            clip_by_global_norm(self._trainable, self.recipe.clip_norm)
        factor = self.recipe.schedule(self.steps)
        for optimizer, base_lrs in zip(self.recipe.optimizers, self._base_lrs, strict=True):
            for group, base_lr in zip(optimizer.param_groups, base_lrs, strict=True):
                group["lr"] = base_lr * factor
            optimizer.step()
        if self._average:
            self._average.update()
        self.steps += 1
        return loss.detach()

    @contextmanager
    def eval_weights(self) -> Iterator[None]:
        """Put the weights to be judged in the model, and take them out without a trace.

        Optimizers that train one sequence of weights and are judged by another are switched by
        their `eval()` and `train()`. Those undo each other but for rounding, so the training
        weights are copied back, lest training depend on how often it is judged. Batch-norm
        statistics belong to the training weights, hence the re-estimation (the schedule-free
        package asks for it); training itself never reads them, so they too are put back.
        """
        model = self.task.model
        estimates = self.recipe.bn_batches > 0 and bool(find_batch_norms(model))
        moves = self._switches or self._average is not None
        copies = [tensor.detach().clone() for tensor in self._trainable] if moves else []
        with kept_statistics(model):
            self._switch("eval")
            if self._average:
                self._put(self._average.weights())
            if estimates:
                batches = islice(self.batches(), self.recipe.bn_batches)
                estimate_statistics(model, self.task.forward, batches)
            try:
                yield
            finally:
                self._switch("train")
                if copies:
                    self._put(copies)

    @torch.no_grad()
    def _put(self, weights: list[Tensor]) -> None:
        torch._foreach_copy_(self._trainable, weights)

    @property
    def _switches(self) -> bool:
        return any(hasattr(optimizer, "eval") for optimizer in self.recipe.optimizers)

    def _switch(self, mode: str) -> None:
        for optimizer in self.recipe.optimizers:
            if hasattr(optimizer, mode):
                getattr(optimizer, mode)()

    def state_dict(self) -> dict[str, Any]:
        """Return the optimizers' states and the number of steps made."""
        states = [optimizer.state_dict() for optimizer in self.recipe.optimizers]
        average = self._average.state_dict() if self._average else None
        return {"steps": self.steps, "optimizers": states, "average": average}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a state that `state_dict` gave."""
        self.steps = state["steps"]
        for optimizer, own in zip(self.recipe.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(own)
        if self._average:
            self._average.load_state_dict(state["average"])
