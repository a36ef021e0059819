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
from bench.launch.agreement import compare, compare_pace, find_mistiming
from bench.launch.local import LocalRun
from bench.launch.plan import Plan, request_of
from bench.manifests import choose_scale, read_workload
from bench.records import PlannedTrial, RunRecord, TrialRecord, WorkloadRecord
from bench.rulesets import find_rulesets, load_ruleset
from bench.run_folder import RunFolder
from bench.seeds import derive_seed
from bench.tables import Hparams, base_of, variant_of
from bench.watcher import Watcher

MOST_TRIALS = 10_000
"""In a study; more of them are nobody's."""


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
    chosen = [_find_choice(plan, trial) for trial in trials]
    again = RunFolder(scratch / "run")
    planned = [plan_of(trial) for trial in trials]
    with again.lock():
        again.create(record.model_copy(update={"plan": planned}))
        made = LocalRun(plan, record, again, watcher).make(planned)
    machine = plan.machine()
    exact = machine == record.machine and plan.device == "cpu"
    found = []
    for trial, new, unlike in zip(trials, made, chosen, strict=True):
        old, events = folder.read_events(trial), again.read_events(new)
        compared, difference = compare(old, events, exact)
        difference = unlike or difference or (find_mistiming(old, events) if exact else "")
        found.append(
            Confirmation(
                trial=str(trial.key()),
                records_sha256=hash_trial(folder.path / trial.path()),
                confirmed=compared > 0 and not difference,
                exact=exact,
                compared=compared,
                difference=difference,
                pace=compare_pace(old, events),
                machine=machine,
                when=datetime.now(UTC).isoformat(timespec="seconds"),
            )
        )
    return found


def _find_choice(plan: Plan, trial: TrialRecord) -> str:
    """Return what of a trial somebody chose: it is not what the run's seed and rules give.

    Rules that the program does not come with, such as a calibration's, may give hyperparameters.
    """
    if trial.trial >= MOST_TRIALS:
        return f"no study has {trial.trial + 1} trials"
    drawn = plan.draw(trial.key())
    if drawn.seed != trial.seed:
        return f"its seed is {trial.seed}, the run's seed gives {drawn.seed}"
    if plan.request.rules.name in find_rulesets() and not _are_equal(drawn.hparams, trial.hparams):
        return f"its hyperparameters are {trial.hparams}, the rules give {drawn.hparams}"
    return ""


def _are_equal(one: Hparams, two: Hparams) -> bool:
    """Say whether hyperparameters are the same, but for the last bit of another machine's power."""
    return one.keys() == two.keys() and all(
        math.isclose(value, other, rel_tol=1e-9)
        if isinstance(value, float) and isinstance(other, float)
        else value == other
        for value, other in ((one[name], two[name]) for name in one)
    )


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
    config = read_workload(folder, variant_of(name))
    scale = choose_scale(config, record.scale)
    if dict(prepare(scale.data)) != known.data_sha256:
        raise BenchError(f"the data of workload '{name}' is not that of the records", "bench data")
    if record.rules.name not in find_rulesets():  # a calibration's stage has terms of its own
        return
    budget_s = known.budget_steps * known.reference_step_s * record.rules.budget_factor
    terms = {
        "ruleset": record.rules == load_ruleset(record.rules.name),
        "metric": (known.metric, known.direction) == (config.metric, config.direction),
        "target": known.target == scale.target,
        "budget": known.budget_steps == scale.budget_steps
        and math.isclose(known.budget_s, budget_s, rel_tol=1e-6),
    }
    if changed := ", ".join(term for term, same in terms.items() if not same):
        message = f"{changed} of workload '{name}' in run.json: not as its folder and the rules say"
        raise BenchError(message, "these are not the trials of a published ruleset")


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
