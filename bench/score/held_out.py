"""Held-out variants: a time counts only if the method also solves what it was not made for.

A submission's time on a workload is infinite unless it solves every held-out variant of it too, in
at most four times what the fastest there takes; fastest among those that solve the workload. The
variants enter no score, which stays the closed form over the workloads.

Source: Dahl et al. 2023, arXiv:2306.07179, section 4.3.
"""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from bench.records import WorkloadRecord
from bench.score.panel import Array
from bench.score.profile import TAU_MAX, Times

Gate = tuple[int, int]
"""Places of a variant and of the workload that it gates."""


def find_gates(names: Sequence[str], workloads: Mapping[str, WorkloadRecord]) -> list[Gate]:
    """Return the held-out variants whose workload is there too.

    Args:
        names: of workloads, in the order of their places.
        workloads: their records.
    """
    return [
        (names.index(name), names.index(base))
        for name in names
        if workloads[name].role == "held_out" and (base := workloads[name].base_workload) in names
    ]


def gate(times: Array, gates: Iterable[Gate], tau_max: float = TAU_MAX) -> Array:
    """Return the times with infinity on a workload for those that fail one of its variants.

    Args:
        times: (..., W, S), infinite for a miss.
        gates: of the W workloads.
        tau_max: ratio to the fastest on a variant that is still solving it.
    """
    gated = times.copy()
    for variant, base in gates:
        on_variant = times[..., variant, :]
        solvers = np.where(np.isfinite(times[..., base, :]), on_variant, np.inf)
        limit = tau_max * solvers.min(axis=-1, keepdims=True)
        passed = np.isfinite(on_variant) & (on_variant <= limit)
        gated[..., base, :] = np.where(passed, gated[..., base, :], np.inf)
    return gated


def scored_times(times: Times, workloads: Mapping[str, WorkloadRecord]) -> Times:
    """Return what a score is made of: times on workloads that are not held out, gated.

    Args:
        times: each workload must know the same submissions.
        workloads: their records.
    """
    names, submissions = list(times), list(next(iter(times.values()), ()))
    table = np.array([[times[name][one] for one in submissions] for name in names])
    gated = gate(table, find_gates(names, workloads)) if names else table
    return {
        name: dict(zip(submissions, row.tolist(), strict=True))
        for name, row in zip(names, gated, strict=True)
        if workloads[name].role != "held_out"
    }
