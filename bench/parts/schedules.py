"""Learning-rate schedules: pure functions of the step."""

import math
from collections.abc import Callable, Sequence
from functools import partial

from bench.errors import BenchError, nearest

Schedule = Callable[[int], float]
"""From the number of steps made to the factor on every base learning rate."""

WARM_UP = "warmup_"


def constant(step: int, horizon: int, end_factor: float = 0.0) -> float:
    """Return 1 at every step."""
    return 1.0


def linear(step: int, horizon: int, end_factor: float = 0.0) -> float:
    """Return a factor that falls along a line from 1 to `end_factor`, and stays there.

    Args:
        step: steps made so far.
        horizon: steps until the end of the fall.
        end_factor: where it ends.
    """
    return 1 + (end_factor - 1) * _progress(step, horizon)


def cosine(step: int, horizon: int, end_factor: float = 0.0) -> float:
    """Return a factor that falls along half a cosine from 1 to `end_factor`, and stays there.

    Args:
        step: steps made so far.
        horizon: steps until the end of the fall.
        end_factor: where it ends.

    Source: Loshchilov and Hutter 2017, arXiv:1608.03983, equation 5.
    """
    return end_factor + (1 - end_factor) * (1 + math.cos(math.pi * _progress(step, horizon))) / 2


def warm_up(step: int, warm_up_steps: int) -> float:
    """Return a factor that rises along a line from 1 / warm_up_steps at step 0, then stays 1."""
    return min(1.0, (step + 1) / warm_up_steps) if warm_up_steps else 1.0


DECAYS = {"constant": constant, "linear": linear, "cosine": cosine}
NAMES: Sequence[str] = (*DECAYS, *(WARM_UP + name for name in DECAYS))


def make_schedule(
    name: str, horizon: int, warmup: float = 0.0, end_factor: float = 0.0
) -> Schedule:
    """Return a schedule by name: `constant`, `linear`, `cosine`, or `warmup_` before one of these.

    Args:
        name: of the schedule.
        horizon: steps until its end, the warm-up included.
        warmup: fraction of the horizon in which the factor rises.
        end_factor: factor at the end of the horizon and ever after.

    Raises:
        BenchError: for an unknown name, or a warm-up that the schedule does not have.
    """
    if name not in NAMES:
        raise BenchError(f"unknown schedule '{name}'", nearest(name, NAMES))
    if warmup and not name.startswith(WARM_UP):
        message = f"schedule '{name}' has no warm-up, but warmup = {warmup:g}"
        raise BenchError(message, f"schedule = '{WARM_UP}{name}', or warmup = 0")
    decay = DECAYS[name.removeprefix(WARM_UP)]
    warm_up_steps = round(warmup * horizon)
    return partial(_warmed_up, decay, warm_up_steps, horizon - warm_up_steps, end_factor)


def _warmed_up(
    decay: Callable[[int, int, float], float],
    warm_up_steps: int,
    decay_steps: int,
    end_factor: float,
    step: int,
) -> float:
    if step < warm_up_steps:
        return warm_up(step, warm_up_steps)
    return decay(step - warm_up_steps, decay_steps, end_factor)


def _progress(step: int, horizon: int) -> float:
    return min(1.0, step / horizon) if horizon else 1.0
