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
    header = ["baseline", "tried", "hit", "best", "fastest", "setting"]
    rows = [_row(name, evidence) for name in _names(evidence)]
    console.print(Grid("lrrrrl", header, rows).to_terminal())
    for line in summarize(evidence):
        console.print(line, highlight=False, markup=False)


def summarize(evidence: Evidence) -> list[str]:
    """Return the lines below the table."""
    sign = "at most" if evidence.direction == "min" else "at least"
    repeated = evidence.repeats
    times = [a.reference_steps for a in repeated if a.reference_steps is not None]
    times_s = [a.time_s for a in repeated if a.time_s is not None]
    lines = [
        "best: the metric at that moment; fastest: reference steps to the target.",
        "",
        f"Target of {evidence.workload} ({evidence.scale}): {evidence.metric} {sign} "
        f"{evidence.target:g}, the median over {len(repeated)} seeds of {repeated[0].submission} "
        f"at {evidence.fraction:.0%} of the budget.",
        f"Of those seeds {len(times)} reach it{_spread_of(times, 'reference steps')}"
        f"{_spread_of(times_s, 's')}.",
    ]
    if evidence.test_target is not None:
        lines.append(f"On the test split that is {evidence.test_target:g}.")
    return [*lines, _judge(evidence)]


def fastest_times(evidence: Evidence) -> dict[str, float]:
    """Return the reference steps of each baseline's fastest setting, of those that hit."""
    times: dict[str, float] = {}
    for attempt in evidence.search:
        if (steps := attempt.reference_steps) is not None:
            times[attempt.submission] = min(times.get(attempt.submission, steps), steps)
    return times


def _names(evidence: Evidence) -> list[str]:
    return list(dict.fromkeys(attempt.submission for attempt in evidence.search))


def _row(name: str, evidence: Evidence) -> list[str]:
    own = [attempt for attempt in evidence.search if attempt.submission == name]
    sign = 1 if evidence.direction == "min" else -1
    valued = [a for a in own if a.value is not None]
    best = min(valued, key=lambda a: sign * (a.value or 0.0), default=None)
    steps = fastest_times(evidence).get(name)
    hits = sum(attempt.time_s is not None for attempt in own)
    return [
        name,
        str(len(own)),
        str(hits),
        f"{best.value:.4g}" if best and best.value is not None else MISS,
        f"{steps:.0f}" if steps is not None else MISS,
        _setting(best),
    ]


def _setting(attempt: Attempt | None) -> str:
    if attempt is None:
        return ""
    return " ".join(
        f"{name}={value:.3g}" if isinstance(value, float) else f"{name}={value}"
        for name, value in attempt.hparams.items()
    )


def _spread_of(times: Sequence[float], unit: str) -> str:
    if len(times) < 2:
        return ""
    variation = statistics.stdev(times) / statistics.mean(times)
    return f", after {statistics.median(times):.4g} {unit} in the median (CV {variation:.1%})"


def _judge(evidence: Evidence) -> str:
    names, times = _names(evidence), fastest_times(evidence)
    reached = f"{len(times)} of {len(names)} tuned baselines reach it"
    if len(times) < 2:
        return f"{reached}: too few to tell methods apart."
    spread = max(times.values()) / min(times.values())
    verdict = "enough" if spread >= WANTED_SPREAD or len(times) < len(names) else "little"
    return f"{reached}, the slowest {spread:.2f} times as late as the fastest: {verdict} spread."
