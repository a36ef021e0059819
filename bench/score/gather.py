"""Records of one run or several, brought together if they may be compared."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.errors import BenchError
from bench.records import Machine, PlannedTrial, RunRecord, TrialRecord
from bench.run_folder import RunFolder
from bench.score.times import Axis, TrialTime, first_hit, time_on

Identity = tuple[str, str, int, int, int, int]
"""Workload, submission, seed of the run, study, trial, seed of the trial."""

FINGERPRINT = ("edition", "scale", *(f"machine.{field}" for field in Machine.model_fields))
"""What seconds depend on beside the workload."""
QUESTION = ("metric", "direction", "target", "data_sha256")
"""What any time depends on; in seconds the rest of the workload's folder counts too."""


@dataclass(frozen=True)
class Gathered:
    """What a score is made from.

    Attributes:
        axis: of the times.
        runs: whose records were read.
        times: of every finished trial, each counted once.
        planned: number of different trials that the runs were to make.
    """

    axis: Axis
    runs: list[RunRecord]
    times: list[TrialTime]
    planned: int


def gather(paths: Sequence[Path], axis: Axis = "seconds", rules: str | None = None) -> Gathered:
    """Read runs and derive the time of each finished trial.

    Args:
        paths: of the runs' folders.
        axis: of the times.
        rules: take only runs by this ruleset; None takes all.

    Raises:
        BenchError: if a record is broken, or records do not compare; names what differs.
    """
    found = [(RunFolder(path), RunFolder(path).read()) for path in paths]
    runs = [(folder, run) for folder, run in found if rules in (None, run.rules.name)]
    if not runs:
        used = sorted({run.rules.name for _, run in found})
        raise BenchError(f"no run by the ruleset '{rules}'", f"these are by: {', '.join(used)}")
    for folder, run in runs[1:]:
        _check_comparable(runs[0], (folder, run), axis)
    origins: dict[Identity, tuple[RunFolder, TrialRecord]] = {}
    times: dict[Identity, TrialTime] = {}
    for folder, run in runs:
        for record in folder.finished(run).values():
            identity = _identify(run, record)
            if identity in origins:
                _check_equal(origins[identity], (folder, record))
                continue
            origins[identity] = folder, record
            times[identity] = _time(folder, run, record, axis)
    planned = {_identify(run, trial) for _, run in runs for trial in run.plan}
    in_order = [times[identity] for identity in sorted(times)]
    return Gathered(axis, [run for _, run in runs], in_order, len(planned))


def _identify(run: RunRecord, trial: PlannedTrial | TrialRecord) -> Identity:
    key = (trial.workload, trial.submission)
    return (*key, run.seed, trial.study, trial.trial, trial.seed)


def _time(folder: RunFolder, run: RunRecord, trial: TrialRecord, axis: Axis) -> TrialTime:
    hit = first_hit(folder.read_events(trial), trial)
    reference_step_s = run.workloads[trial.workload].reference_step_s
    return TrialTime(
        workload=trial.workload,
        submission=trial.submission,
        run_seed=run.seed,
        study=trial.study,
        trial=trial.trial,
        seed=trial.seed,
        status=trial.status,
        time=time_on(axis, hit, reference_step_s) if hit else None,
    )


def _check_equal(one: tuple[RunFolder, TrialRecord], two: tuple[RunFolder, TrialRecord]) -> None:
    """Refuse a repeat with the same seed: it is no new sample, and which one counts is a choice."""
    (first, old), (second, new) = one, two
    if old != new or first.read_events(old) != second.read_events(new):
        message = f"{old.key()}, seed {old.seed}, differs between {first.path} and {second.path}"
        raise BenchError(message, "score one of them; a repeat needs another --seed")


def _check_comparable(
    one: tuple[RunFolder, RunRecord], two: tuple[RunFolder, RunRecord], axis: Axis
) -> None:
    (first, a), (second, b) = one, two
    where = f"between {first.path} and {second.path}"
    if a.rules != b.rules:
        raise BenchError(f"rules differ {where}", "choose one: --rules NAME")
    if axis == "seconds":
        for name in _differences(a, b, FINGERPRINT):
            remedy = "score each alone, or by a machine-independent axis: --time reference"
            raise BenchError(f"{name} differs {where}", remedy)
    question = (*QUESTION, "folder_sha256") if axis == "seconds" else QUESTION
    for name, workload in a.workloads.items():
        other = b.workloads.get(name, workload)
        for field in _differences(workload, other, question):
            raise BenchError(f"{field} of workload '{name}' differs {where}", "score each alone")
    for name, submission in a.submissions.items():
        other_hash = b.submissions.get(name, submission).folder_sha256
        if other_hash != submission.folder_sha256:
            raise BenchError(f"code of submission '{name}' differs {where}", "score each alone")


def _differences(a: object, b: object, fields: Iterable[str]) -> list[str]:
    return [name for name in fields if _get(a, name) != _get(b, name)]


def _get(record: object, name: str) -> object:
    for part in name.split("."):
        record = getattr(record, part)
    return record
