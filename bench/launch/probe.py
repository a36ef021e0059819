"""How fast this machine is at a workload: the time of its reference step, the budgets' unit."""

import statistics
from itertools import pairwise
from pathlib import Path

from bench.clock import Clock, SystemClock
from bench.data.split import load_split
from bench.trainer import WARM_UP_STEPS, reference_steps, set_up_torch
from bench.workload import load_workload


def probe_reference_step_s(
    folder: Path, scale: str, threads: int, steps: int = 12, clock: Clock | None = None
) -> float:
    """Return the median seconds of a workload's own SGD step on this machine.

    Args:
        folder: the workload's.
        scale: one of its scales.
        threads: to compute with.
        steps: to time, after a warm-up.
        clock: where the time comes from.
    """
    clock = clock or SystemClock()
    set_up_torch(threads)
    workload = load_workload(folder, scale)
    split = load_split(workload.scale.data, "train")
    marks = [clock.now() for _ in reference_steps(workload, split, WARM_UP_STEPS + steps)]
    times = [later - sooner for sooner, later in pairwise(marks)]
    return statistics.median(times[WARM_UP_STEPS - 1 :])
