"""Performance ratios, performance profiles, and the score, in exact closed form.

Source: Dahl et al. 2023, "Benchmarking Neural Network Training Algorithms",
arXiv:2306.07179, on performance profiles, which are from Dolan and More 2002.
"""

import math
from collections.abc import Mapping, Sequence

TAU_MAX = 4.0
"""A submission this many times slower than the fastest gains nothing from the workload."""

Times = Mapping[str, Mapping[str, float]]
"""Time of each submission by workload and name; infinite where it missed the target."""


def performance_ratios(times: Mapping[str, float]) -> dict[str, float]:
    """Return how many times slower than the fastest each is on one workload.

    Args:
        times: by submission; all infinite where nobody solves the workload.
    """
    fastest = min(times.values())
    return {name: _ratio(time, fastest) for name, time in times.items()}


def _ratio(time: float, fastest: float) -> float:
    if math.isinf(time):
        return math.inf
    if time == fastest:
        return 1.0
    return time / fastest if fastest else math.inf


def performance_profile(ratios: Sequence[float], tau: float) -> float:
    """Return rho(tau): the fraction of workloads on which the ratio is at most tau."""
    return sum(ratio <= tau for ratio in ratios) / len(ratios)


def integrate_profile(ratios: Sequence[float], tau_max: float = TAU_MAX) -> float:
    """Return the mean of rho over tau from 1 to tau_max, exactly.

    A workload of ratio r is counted from tau = r on, so it adds the length that is left.
    """
    gains = (max(0.0, (tau_max - ratio) / (tau_max - 1)) for ratio in ratios)
    return math.fsum(gains) / len(ratios)


def score_submissions(times: Times) -> dict[str, float]:
    """Return each submission's score in [0, 1]; 1 is the fastest on every workload.

    Args:
        times: each workload must know the same submissions.
    """
    ratios = [performance_ratios(cells) for cells in times.values()]
    names = next(iter(times.values())) if times else ()
    return {name: integrate_profile([cells[name] for cells in ratios]) for name in names}
