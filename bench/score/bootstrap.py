"""How far a score would move with other studies: a percentile bootstrap.

Source: Efron and Tibshirani 1993, "An Introduction to the Bootstrap", chapter 13.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from bench.score.profile import TAU_MAX

REPLICATES = 1000
SEED = 0
COVERAGE = 0.95
DESCRIPTION = f"percentile bootstrap over studies, {COVERAGE:.0%}, B={REPLICATES}, seed {SEED}"

Array = NDArray[np.float64]


def bootstrap_scores(
    sample: Mapping[str, Mapping[str, Sequence[float]]],
) -> dict[str, tuple[float, float]]:
    """Return lower and upper limit of each submission's score.

    Args:
        sample: time of each study by workload and submission, infinite for a miss; each workload
            must know the same submissions.

    Returns:
        Nothing where some cell has a single study: that says nothing of its spread.
    """
    cells = [times for workload in sample.values() for times in workload.values()]
    if not cells or min(map(len, cells)) < 2:
        return {}
    rng = np.random.default_rng(SEED)
    names = sorted(next(iter(sample.values())))
    scores = np.zeros((REPLICATES, len(names)))
    for workload in sorted(sample):
        medians = [_resample_median(sample[workload][name], rng) for name in names]
        scores += _gains(np.stack(medians, axis=1)) / len(sample)
    tail = (1 - COVERAGE) / 2
    low, high = np.quantile(scores, [tail, 1 - tail], axis=0)
    return {name: (float(low[i]), float(high[i])) for i, name in enumerate(names)}


def _resample_median(times: Sequence[float], rng: np.random.Generator) -> Array:
    """Return (REPLICATES,) medians of studies drawn with replacement."""
    n = len(times)
    drawn = np.sort(np.asarray(times)[rng.integers(n, size=(REPLICATES, n))], axis=1)
    medians: Array = (drawn[:, (n - 1) // 2] + drawn[:, n // 2]) / 2
    return medians


def _gains(times: Array) -> Array:
    """Return what one workload adds to the profile's integral; times: (REPLICATES, S)."""
    fastest = np.broadcast_to(times.min(axis=1, keepdims=True), times.shape)
    solved = np.isfinite(times) & (fastest > 0)
    ratios = np.divide(times, fastest, out=np.full(times.shape, np.inf), where=solved)
    ratios[np.isfinite(times) & (times == fastest)] = 1.0
    gains: Array = np.clip((TAU_MAX - ratios) / (TAU_MAX - 1), 0.0, None)
    return gains
