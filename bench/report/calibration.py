"""A calibration's evidence, shown: does the target tell methods apart?"""

import statistics
from collections.abc import Sequence

from rich.console import Console

from bench.report.grid import Grid
from bench.score.calibration import Attempt, Evidence

WANTED_SPREAD = 2.0
"""Slowest to fastest tuned baseline, from which on a target is worth having."""
MISS = "—"


def print_evidence(evidence: Evidence, console: Console | None = None) -> None:
    """Print what each baseline reached, the target, and what makes it a good or a poor one."""
    console = console or Console()
    header = ["baseline", "tried", "hit", "best", "fastest s", "setting"]
    rows = [_row(name, evidence) for name in _names(evidence)]
    console.print(Grid("lrrrrl", header, rows).to_terminal())
    for line in summarize(evidence):
        console.print(line, highlight=False, markup=False)


def summarize(evidence: Evidence) -> list[str]:
    """Return the lines below the table."""
    sign = "at most" if evidence.direction == "min" else "at least"
    repeated = evidence.repeats
    times = [a.time_s for a in repeated if a.time_s is not None]
    lines = [
        "",
        f"Target of {evidence.workload} ({evidence.scale}): {evidence.metric} {sign} "
        f"{evidence.target:g}, the median over {len(repeated)} seeds of {repeated[0].submission} "
        f"at {evidence.fraction:.0%} of the budget.",
        f"Of those seeds {len(times)} reach it{_spread_of(times)}.",
    ]
    if evidence.test_target is not None:
        lines.append(f"On the test split those have {evidence.test_target:g} in the median.")
    return [*lines, _judge(evidence)]


def fastest_times(evidence: Evidence) -> dict[str, float]:
    """Return the time of each baseline's fastest setting; those that all missed are left out."""
    times: dict[str, float] = {}
    for attempt in evidence.search:
        if attempt.time_s is not None:
            known = times.get(attempt.submission, attempt.time_s)
            times[attempt.submission] = min(known, attempt.time_s)
    return times


def _names(evidence: Evidence) -> list[str]:
    return list(dict.fromkeys(attempt.submission for attempt in evidence.search))


def _row(name: str, evidence: Evidence) -> list[str]:
    own = [attempt for attempt in evidence.search if attempt.submission == name]
    sign = 1 if evidence.direction == "min" else -1
    valued = [a for a in own if a.value is not None]
    best = min(valued, key=lambda a: sign * (a.value or 0.0), default=None)
    time_s = fastest_times(evidence).get(name)
    hits = sum(attempt.time_s is not None for attempt in own)
    return [
        name,
        str(len(own)),
        str(hits),
        f"{best.value:.4g}" if best and best.value is not None else MISS,
        f"{time_s:.1f}" if time_s is not None else MISS,
        _setting(best),
    ]


def _setting(attempt: Attempt | None) -> str:
    if attempt is None:
        return ""
    return " ".join(
        f"{name}={value:.3g}" if isinstance(value, float) else f"{name}={value}"
        for name, value in attempt.hparams.items()
    )


def _spread_of(times: Sequence[float]) -> str:
    if len(times) < 2:
        return ""
    variation = statistics.stdev(times) / statistics.mean(times)
    return f", after {statistics.median(times):.1f} s in the median (CV {variation:.1%})"


def _judge(evidence: Evidence) -> str:
    names, times = _names(evidence), fastest_times(evidence)
    reached = f"{len(times)} of {len(names)} tuned baselines reach it"
    if len(times) < 2:
        return f"{reached}: too few to tell methods apart."
    spread = max(times.values()) / min(times.values())
    verdict = "enough" if spread >= WANTED_SPREAD or len(times) < len(names) else "little"
    return f"{reached}, the slowest {spread:.2f} times as late as the fastest: {verdict} spread."
