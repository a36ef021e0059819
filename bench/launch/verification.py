"""Are the numbers of a run true? Its trials are made again, from its own records."""

import math
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from bench.confirmations import Confirmation, hash_trial
from bench.data.preparation import prepare
from bench.errors import BenchError
from bench.folders import copy_source, find_folder, folder_sha256
from bench.launch.local import LocalRun
from bench.launch.plan import Plan, request_of
from bench.manifests import choose_scale, read_workload
from bench.records import Evaluation, PlannedTrial, RunRecord, TrialRecord, WorkloadRecord
from bench.run_folder import RunFolder
from bench.seeds import derive_seed
from bench.tables import base_of, variant_of
from bench.watcher import Watcher

TOLERANCE = 0.05
"""Relative, of losses and metrics on another machine: rounding differs there, and grows."""


def repeat(
    folder: RunFolder, trials: Sequence[TrialRecord], scratch: Path, paths: list[Path],
    watcher: Watcher,
) -> list[Confirmation]:  # fmt: skip
    """Make trials again and compare every evaluation that both have.

    Args:
        folder: of the run; only read.
        trials: of it.
        scratch: an empty folder, for what is made.
        paths: more places of workloads.
        watcher: is told of what happens.

    Raises:
        BenchError: if the run cannot be repeated here; says why.
    """
    record = folder.read()
    plan = draw_plan(folder, record, trials, scratch, paths)
    again = RunFolder(scratch / "run")
    planned = [plan_of(trial) for trial in trials]
    with again.lock():
        again.create(record.model_copy(update={"plan": planned}))
        made = LocalRun(plan, record, again, watcher).make(planned)
    machine = plan.machine()
    exact = machine == record.machine and plan.device == "cpu"
    found = []
    for trial, new in zip(trials, made, strict=True):
        compared, difference = compare(folder.read_events(trial), again.read_events(new), exact)
        found.append(
            Confirmation(
                trial=str(trial.key()),
                records_sha256=hash_trial(folder.path / trial.path()),
                confirmed=compared > 0 and not difference,
                exact=exact,
                compared=compared,
                difference=difference,
                machine=machine,
                when=datetime.now(UTC).isoformat(timespec="seconds"),
            )
        )
    return found


def compare(old: Sequence[Evaluation], new: Sequence[Evaluation], exact: bool) -> tuple[int, str]:
    """Compare the evaluations of a trial that were placed at the same example.

    Args:
        old: as recorded.
        new: as made again; a slower machine makes fewer within a budget.
        exact: whether to compare bits.

    Returns:
        How many there are, and what differs first; empty where nothing does.
    """
    pairs = [(a, b) for a, b in zip(old, new, strict=False) if a.examples == b.examples]
    for a, b in pairs:
        difference = _difference(a, b, exact)
        if difference:
            return len(pairs), f"evaluation {a.index}: {difference}"
    return len(pairs), ""


def _difference(a: Evaluation, b: Evaluation, exact: bool) -> str:
    if exact and a.weights_sha256 != b.weights_sha256:
        return "other weights"
    for name in ("train_loss", "validation"):
        was, now = getattr(a, name), getattr(b, name)
        if was is None or now is None:
            same = was is now
        else:
            same = was == now if exact else math.isclose(was, now, rel_tol=TOLERANCE)
        if not same:
            return f"{name} {was}, now {now}"
    return ""


def draw_plan(
    folder: RunFolder, record: RunRecord, trials: Sequence[TrialRecord], scratch: Path,
    paths: list[Path],
) -> Plan:  # fmt: skip
    """Return a plan of the record's own workloads and submissions; data is prepared.

    Submissions are taken from the copies beside their trials.

    Raises:
        BenchError: if a workload or a copy is not the one that the record names.
    """
    if record.origin:
        benchmark = record.origin.benchmark
        message = f"{folder.path} was imported: its trials are {benchmark}'s"
        raise BenchError(message, "repeat them there")
    workloads, submissions = {}, {}
    for trial in trials:
        name = trial.workload
        workloads[name] = find_folder("workloads", name, paths)
        _check_workload(name, workloads[name], record)
        source = folder.path / trial.path() / "source"
        copied = scratch / "submissions" / trial.submission
        copy_source(source, copied)
        if folder_sha256(copied) != record.submissions[trial.submission].folder_sha256:
            message = f"{source} is not what ran: its hash is not that of the record"
            raise BenchError(message, "restore it; no number of this trial can be repeated")
        submissions[trial.submission] = copied
    return Plan(request_of(record), workloads, frozenset(), submissions, record.studies, 1)


def _check_workload(name: str, folder: Path, record: RunRecord) -> None:
    known: WorkloadRecord = record.workloads[name]
    if folder_sha256(folder) != known.folder_sha256:
        commit = f"check out commit {record.commit}" if record.commit else "give its folder: --path"
        raise BenchError(f"workload '{base_of(name)}' is not the one of the records", commit)
    scale = choose_scale(read_workload(folder, variant_of(name)), record.scale)
    if dict(prepare(scale.data)) != known.data_sha256:
        raise BenchError(f"the data of workload '{name}' is not that of the records", "bench data")


def plan_of(trial: TrialRecord) -> PlannedTrial:
    """Return what was planned of a trial, from its record."""
    fields = PlannedTrial.model_fields
    return PlannedTrial(**{name: getattr(trial, name) for name in fields})


def draw_fresh(trial: TrialRecord, count: int, seed: int) -> list[PlannedTrial]:
    """Return trials as a published one, with seeds of their own.

    Args:
        trial: gives hyperparameters.
        count: studies wanted.
        seed: that the new seeds derive from; no run's can be equal.
    """
    planned = plan_of(trial)
    return [
        planned.model_copy(
            update={"study": study, "trial": 0, "seed": derive_seed(seed, "challenge", study)}
        )
        for study in range(count)
    ]


def make_fresh(
    folder: RunFolder, trial: TrialRecord, count: int, seed: int, scratch: Path,
    paths: list[Path], watcher: Watcher,
) -> RunFolder:  # fmt: skip
    """Make fresh studies of a row by the record's own rules and budget; returns where they are.

    Raises:
        BenchError: if studies are tuned, or the run cannot be repeated here.
    """
    record = folder.read()
    if record.rules.tuning != "none":
        message = f"rows by the ruleset '{record.rules.name}' are of tuned studies"
        raise BenchError(message, "make a run with another --seed and compare: bench compare")
    plan = draw_plan(folder, record, [trial], scratch, paths)
    fresh = draw_fresh(trial, count, seed)
    again = RunFolder(scratch / f"fresh-{trial.workload}-{trial.submission}")
    new = record.model_copy(update={"plan": fresh, "studies": count, "seed": seed})
    with again.lock():
        again.create(new)
        LocalRun(replace(plan, studies=count), new, again, watcher).make(fresh)
    return again
