"""Times to target, derived from evaluations each time: never from a stored number."""

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from bench.records import Evaluation, Status, TrialRecord, reaches

Axis = Literal["seconds", "reference", "steps", "examples"]
AXES: tuple[Axis, ...] = get_args(Axis)

Sample = dict[str, dict[str, list[float]]]
"""Time of each study, by workload and submission; infinite where the target was missed."""


@dataclass(frozen=True, slots=True)
class TrialTime:
    """When a trial reached its target.

    Attributes:
        run_seed: of the run; with the study's number it tells studies apart.
        seed: of the trial.
        time: on the axis asked for; None where the target was not reached within the budget.
    """

    workload: str
    submission: str
    run_seed: int
    study: int
    trial: int
    seed: int
    status: Status
    time: float | None


def first_hit(events: Iterable[Evaluation], trial: TrialRecord) -> Evaluation | None:
    """Return the first evaluation at or past the target within the budget, however it ended."""
    for event in events:
        if event.train_s > trial.budget_s:
            return None
        if reaches(event.validation, trial.target, trial.direction):
            return event
    return None


def time_on(axis: Axis, hit: Evaluation, reference_step_s: float) -> float:
    """Return the time of an evaluation.

    Args:
        axis: what to count; all but seconds compare across machines.
        hit: the evaluation.
        reference_step_s: seconds of a reference step on the machine of the run.
    """
    match axis:
        case "seconds":
            return hit.train_s
        case "reference":
            return hit.train_s / reference_step_s
        case "steps":
            return float(hit.step)
        case "examples":
            return float(hit.examples)


def study_times(times: Iterable[TrialTime]) -> Sample:
    """Return the time of the fastest trial of each study; skipped trials make no study."""
    fastest: dict[tuple[str, str, int, int], float] = {}
    for trial in times:
        if trial.status == "skipped":
            continue
        study = (trial.workload, trial.submission, trial.run_seed, trial.study)
        time = math.inf if trial.time is None else trial.time
        fastest[study] = min(time, fastest.get(study, math.inf))
    sample: Sample = defaultdict(lambda: defaultdict(list))
    for (workload, submission, _, _), time in sorted(fastest.items()):
        sample[workload][submission].append(time)
    return {workload: dict(cells) for workload, cells in sample.items()}


def median(times: Sequence[float]) -> float:
    """Return the median with misses infinite; of an even count, the mean of the middle two."""
    ordered = sorted(times)
    middle = len(ordered) // 2
    if len(ordered) % 2:
        return ordered[middle]
    return (ordered[middle - 1] + ordered[middle]) / 2
