"""A leaderboard: who reached which target when, by what score, and what to doubt about it."""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from bench.config import RulesetConfig
from bench.records import Machine, RunRecord, WorkloadRecord
from bench.score.bootstrap import Level
from bench.score.gather import Gathered
from bench.score.intervals import Bands, Interval, Intervals, make_bands, make_intervals
from bench.score.panel import make_panel
from bench.score.profile import performance_ratios, score_submissions
from bench.score.times import Axis, Crossing, Sample, TrialTime, median, study_times

BASELINE = "nadamw"


@dataclass(frozen=True)
class Cell:
    """One submission on one workload.

    Attributes:
        median: over studies, of each study's fastest trial; infinite if half or more missed.
        low: of the fastest study.
        high: of the slowest study; infinite if one missed.
        studies: number of studies.
        hits: trials that reached the target.
        trials: number of trials, skipped ones left out.
        ratio: median to that of the fastest ranked submission; None if this one is not ranked.
        speedup: the baseline's median to this one; None unless both are finite.
        interval: of the median; infinite where a repeat may miss; None where there are too few
            studies, or the submission is not ranked.
        ratio_interval: likewise of the ratio.
    """

    median: float
    low: float
    high: float
    studies: int
    hits: int
    trials: int
    ratio: float | None
    speedup: float | None
    interval: Interval | None = None
    ratio_interval: Interval | None = None


@dataclass(frozen=True)
class Row:
    """One submission.

    Attributes:
        rank: 1 is best, equal scores share one; None for those that lack a workload.
        score: None where there is no rank.
        interval: of the score; None where there are too few studies.
        cells: by workload; a workload that it was not run on is not there.
        rank_interval: of the rank; None as for the score's.
        above_next: probability that its score is above that of the next row.
    """

    rank: int | None
    submission: str
    title: str
    score: float | None
    interval: tuple[float, float] | None
    cells: dict[str, Cell]
    rank_interval: tuple[int, int] | None = None
    above_next: float | None = None

    @property
    def runs(self) -> int:
        """Number of trials."""
        return sum(cell.trials for cell in self.cells.values())

    @property
    def hits(self) -> int:
        """Number of trials that reached their target."""
        return sum(cell.hits for cell in self.cells.values())


@dataclass(frozen=True)
class Leaderboard:
    """Rows, best first, and what a reader must know of them.

    Attributes:
        edition: or editions, where the axis lets them mix.
        machines: that the trials ran on; likewise.
        dates: ISO days on which the runs began.
        interval: how the intervals were made; None where there are none.
        notes: sentences about what is missing or doubtful.
        bands: of each performance profile: tau, lower and upper limit; empty without intervals.
        crossing: which moment is the time to target.
    """

    edition: str
    rules: RulesetConfig
    axis: Axis
    baseline: str
    machines: list[Machine]
    dates: list[str]
    workloads: dict[str, WorkloadRecord]
    rows: list[Row]
    times: list[TrialTime]
    interval: str | None
    notes: list[str]
    bands: Bands = field(default_factory=dict)
    crossing: Crossing = "first"


def make_leaderboard(
    gathered: Gathered, baseline: str = BASELINE, level: Level | None = "studies"
) -> Leaderboard:
    """Score what was gathered; submissions that lack a workload are listed but not ranked.

    Args:
        gathered: times of one run, or of several that compare.
        baseline: that speed-ups are against.
        level: what intervals draw anew; None leaves intervals out.
    """
    runs = gathered.runs
    sample = study_times(gathered.times)
    names = sorted({name for cells in sample.values() for name in cells})
    ranked = {name for name in names if all(name in cells for cells in sample.values())}
    in_ranking = _restrict(sample, ranked)
    panel = make_panel(gathered.times).restrict(sorted(ranked))
    intervals = make_intervals(panel, level) if level else None
    known = {name: record for run in runs for name, record in run.workloads.items()}
    cells = _make_cells(sample, in_ranking, gathered.times, baseline, intervals)
    return Leaderboard(
        edition=", ".join(sorted({run.edition for run in runs})),
        rules=runs[0].rules,
        axis=gathered.axis,
        baseline=baseline,
        machines=list(dict.fromkeys(run.machine for run in runs if not run.origin)),
        dates=sorted({run.created[:10] for run in runs}),
        workloads={name: known[name] for name in sorted(sample)},
        rows=_rank(cells, _score(in_ranking), intervals, _titles(runs)),
        times=gathered.times,
        interval=intervals.description if intervals else None,
        notes=_make_notes(gathered, sample, in_ranking, bool(intervals) or level is None),
        bands=make_bands(panel, level) if level else {},
        crossing=gathered.crossing,
    )


def _restrict(sample: Sample, names: set[str]) -> Sample:
    """Return what is known of some submissions; nothing if there are none."""
    if not names:
        return {}
    return {
        workload: {name: times for name, times in cells.items() if name in names}
        for workload, cells in sample.items()
    }


def _titles(runs: list[RunRecord]) -> dict[str, str]:
    return {name: record.title for run in runs for name, record in run.submissions.items()}


def _medians(cells: Mapping[str, Sequence[float]]) -> dict[str, float]:
    return {name: median(times) for name, times in cells.items()}


def _score(sample: Sample) -> dict[str, float]:
    return score_submissions({workload: _medians(cells) for workload, cells in sample.items()})


def _make_cells(
    sample: Sample,
    in_ranking: Sample,
    times: list[TrialTime],
    baseline: str,
    intervals: Intervals | None,
) -> dict[str, dict[str, Cell]]:
    """Return the cells by submission and workload."""
    trials: dict[tuple[str, str], list[TrialTime]] = defaultdict(list)
    for trial in times:
        if trial.status != "skipped":
            trials[trial.workload, trial.submission].append(trial)
    made: dict[str, dict[str, Cell]] = defaultdict(dict)
    for workload, cells in sample.items():
        medians = _medians(cells)
        ratios = performance_ratios(_medians(in_ranking[workload])) if in_ranking else {}
        of_times = intervals.times[workload] if intervals else {}
        of_ratios = intervals.ratios[workload] if intervals else {}
        for name, studies in cells.items():
            made[name][workload] = Cell(
                median=medians[name],
                low=min(studies),
                high=max(studies),
                studies=len(studies),
                hits=sum(trial.time is not None for trial in trials[workload, name]),
                trials=len(trials[workload, name]),
                ratio=ratios.get(name),
                speedup=_speed_up(medians.get(baseline, math.inf), medians[name]),
                interval=of_times.get(name),
                ratio_interval=of_ratios.get(name),
            )
    return made


def _speed_up(baseline: float, time: float) -> float | None:
    if math.isinf(baseline) or math.isinf(time) or not time:
        return None
    return baseline / time


def _rank(
    cells: dict[str, dict[str, Cell]],
    scores: dict[str, float],
    intervals: Intervals | None,
    titles: dict[str, str],
) -> list[Row]:
    ordered = sorted(cells, key=lambda name: (-scores.get(name, -1.0), name))
    next_of = dict(pairwise(ordered))
    return [
        Row(
            rank=1 + sum(s > scores[name] for s in scores.values()) if name in scores else None,
            submission=name,
            title=titles[name],
            score=scores.get(name),
            interval=intervals.scores.get(name) if intervals else None,
            cells=cells[name],
            rank_interval=intervals.ranks.get(name) if intervals else None,
            above_next=intervals.above.get((name, next_of.get(name, ""))) if intervals else None,
        )
        for name in ordered
    ]


def _make_notes(
    gathered: Gathered, sample: Sample, in_ranking: Sample, intervals_settled: bool
) -> list[str]:
    rules = gathered.runs[0].rules
    notes = []
    if not rules.ranked:
        notes.append(f"Unranked: the ruleset '{rules.name}' is too small to rank by.")
    if len(gathered.times) < gathered.planned:
        notes.append(f"{len(gathered.times)} of {gathered.planned} trials finished.")
    workloads = {n: w for run in gathered.runs for n, w in run.workloads.items() if n in sample}
    provisional = [n for n, w in sorted(workloads.items()) if w.target_status == "provisional"]
    if provisional:
        notes.append(f"Targets are provisional: {', '.join(provisional)}.")
    for workload, cells in in_ranking.items():
        if all(math.isinf(time) for time in _medians(cells).values()):
            notes.append(f"No ranked submission solves {workload}: it adds 0 to every score.")
    ranked = {name for cells in in_ranking.values() for name in cells}
    for name in sorted({name for cells in sample.values() for name in cells} - ranked):
        lacking = [workload for workload, cells in sample.items() if name not in cells]
        notes.append(f"{name} has no rank: not run on {', '.join(lacking)}.")
    if in_ranking and not intervals_settled:
        notes.append("No intervals: they need two studies or more of every submission.")
    return notes
