"""A submission to start from: AdamW with warm-up and cosine decay.

Try it with `bench check`, then against the baseline with `bench run`. For more freedom derive a
class from `bench.api.Submission` and define `step(batch)`; for less code describe a `[recipe]` in
submission.toml and delete this file.
"""

import torch

from bench.api import Hparams, Recipe, Task, build_optimizer, make_schedule


def configure(task: Task, hparams: Hparams) -> Recipe:
    """Choose optimizer and schedule for a task."""
    options = {"lr": hparams["lr"], "betas": (0.9, 0.99), "weight_decay": hparams["weight_decay"]}
    optimizer = build_optimizer(torch.optim.AdamW, task.parameters, options)
    steps = task.budget.step_hint(task.batch_size)
    return Recipe(
        optimizers=[optimizer],
        schedule=make_schedule("warmup_cosine", steps, warmup=0.05),
        clip_norm=1.0,
    )
