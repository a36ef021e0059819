"""Gating by held-out variants, against the same rule in loops."""

import math

import numpy as np
from factories import WORKLOAD
from hypothesis import given
from hypothesis import strategies as st

from bench.score.held_out import find_gates, gate, scored_times

NAMES = ["bert", "gpt", "gpt+deep", "gpt+wide"]
HELD = WORKLOAD.model_copy(update={"role": "held_out", "base_workload": "gpt"})
RECORDS = {"bert": WORKLOAD, "gpt": WORKLOAD, "gpt+deep": HELD, "gpt+wide": HELD}
times = st.lists(
    st.lists(st.sampled_from([1.0, 2.0, 4.0, 8.0, 9.0, math.inf]), min_size=3, max_size=3),
    min_size=4, max_size=4,
)  # fmt: skip


def by_loops(table: list[list[float]]) -> list[list[float]]:
    base, variants = table[1], table[2:]
    gated = [list(row) for row in table]
    for s in range(3):
        for variant in variants:
            rivals = [variant[o] for o in range(3) if base[o] < math.inf]
            fastest = min(rivals, default=math.inf)
            if variant[s] == math.inf or variant[s] > 4 * fastest:
                gated[1][s] = math.inf
    return gated


@given(times)
def test_gating_is_the_rule(table):
    gates = find_gates(NAMES, RECORDS)
    assert gates == [(2, 1), (3, 1)]
    assert gate(np.array(table), gates).tolist() == by_loops(table)


@given(st.lists(times, min_size=1, max_size=3))
def test_many_benchmarks_are_gated_each_alone(tables):
    gates = find_gates(NAMES, RECORDS)
    together = gate(np.array(tables), gates)
    assert together.tolist() == [gate(np.array(table), gates).tolist() for table in tables]


def test_a_variant_whose_workload_was_not_run_gates_nothing():
    assert find_gates(["bert", "gpt+deep"], RECORDS) == []


def test_variants_enter_no_score_but_what_they_gate_does():
    table = {
        "bert": {"a": 1.0, "b": 2.0}, "gpt": {"a": 3.0, "b": 4.0},
        "gpt+deep": {"a": math.inf, "b": 5.0}, "gpt+wide": {"a": 1.0, "b": 1.0},
    }  # fmt: skip
    scored = scored_times(table, RECORDS)
    assert scored == {"bert": {"a": 1.0, "b": 2.0}, "gpt": {"a": math.inf, "b": 4.0}}
    assert scored_times({}, RECORDS) == {}
