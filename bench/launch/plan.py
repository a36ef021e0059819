"""Which trials a run is to make: names to folders, rules to trials."""

from dataclasses import dataclass, field
from pathlib import Path

from bench.config import EditionConfig, Hparams, RulesetConfig
from bench.errors import BenchError, nearest
from bench.folders import Kind, find_folders, folder_sha256
from bench.manifests import choose_scale, read_submission, read_workload
from bench.records import PlannedTrial
from bench.seeds import derive_seed

EVERY = "all"
"""In place of a name: every plug-in that is found."""


@dataclass(frozen=True)
class Request:
    """What `bench run` was asked for.

    Attributes:
        edition: what is held fixed; names the scale.
        rules: the ruleset.
        workloads: names; empty takes the edition's.
        submissions: names; empty takes the edition's.
        studies: of each pair; None takes the ruleset's.
        seed: of the run, from which every other derives.
        paths: more places of plug-ins.
        argv: the command line, for the record.
    """

    edition: EditionConfig
    rules: RulesetConfig
    workloads: list[str] = field(default_factory=list)
    submissions: list[str] = field(default_factory=list)
    studies: int | None = None
    seed: int = 0
    paths: list[Path] = field(default_factory=list)
    argv: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Plan:
    """A request with its names resolved, before anything is measured.

    Attributes:
        request: what was asked for.
        workloads: folder of each workload, by name.
        submissions: folder of each submission, by name.
        studies: of each pair.
    """

    request: Request
    workloads: dict[str, Path]
    submissions: dict[str, Path]
    studies: int

    @property
    def run_name(self) -> str:
        """Name of the run's folder unless another is given: the same command finds it again."""
        hashes = [folder_sha256(f) for f in [*self.workloads.values(), *self.submissions.values()]]
        digest = derive_seed(self.request.seed, self.studies, *hashes)
        edition, rules = self.request.edition.name, self.request.rules.name
        return f"{edition}-{rules}-seed{self.request.seed}-{digest:016x}"[:-8]

    def trials(self) -> list[PlannedTrial]:
        """Return the trials in their order: studies outermost, so that drift meets all alike."""
        defaults = {name: read_submission(f).defaults for name, f in self.submissions.items()}
        return [
            self._trial(workload, submission, study, defaults[submission])
            for study in range(self.studies)
            for workload in self.workloads
            for submission in self.submissions
        ]

    def _trial(self, workload: str, submission: str, study: int, hparams: Hparams) -> PlannedTrial:
        return PlannedTrial(
            workload=workload,
            submission=submission,
            study=study,
            trial=0,
            # Without the submission's name: all meet the same first weights and data order.
            seed=derive_seed(self.request.seed, "study", study, "trial", 0),
            hparams=hparams,
        )


def resolve(request: Request) -> Plan:
    """Find the folders that a request names.

    Raises:
        BenchError: for an unknown name, a broken TOML, or a number that makes no sense.
    """
    if request.seed < 0:
        raise BenchError(f"--seed {request.seed} is negative", "give a whole number from 0")
    studies = request.rules.studies if request.studies is None else request.studies
    if studies < 1:
        raise BenchError(f"--studies {studies} makes no run", "give a whole number from 1")
    edition = request.edition
    workloads = _choose("workloads", request.workloads or list(edition.workloads), request.paths)
    submissions = _choose("submissions", request.submissions or edition.submissions, request.paths)
    for folder in workloads.values():
        choose_scale(read_workload(folder), edition.scale)
    for folder in submissions.values():
        read_submission(folder)
    return Plan(request, workloads, submissions, studies)


def _choose(kind: Kind, names: list[str], paths: list[Path]) -> dict[str, Path]:
    found = find_folders(kind, paths)
    names = list(found) if names == [EVERY] else names
    for name in names:
        if name not in found:
            raise BenchError(f"unknown {kind.removesuffix('s')} '{name}'", nearest(name, found))
    return {name: found[name] for name in names}
