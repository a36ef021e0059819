"""Reading and scoring a leaderboard's records, beside reading their lines as JSON and no more."""

import json
import statistics

from turns import ratio

from bench.clock import SystemClock
from bench.folders import bundled_root
from bench.score.gather import gather
from bench.score.leaderboard import make_leaderboard

RECORDS = bundled_root() / "results/leaderboards/micro-0/records"
ROUNDS = 10


def test_scoring(benchmark):
    clock = SystemClock()
    floor_s, own_s = [], []

    def read_lines() -> None:
        began = clock.now()
        for path in [*RECORDS.rglob("*.json"), *RECORDS.rglob("*.jsonl")]:
            for line in path.read_text().splitlines() if path.suffix == ".jsonl" else [path]:
                json.loads(line if isinstance(line, str) else line.read_text())
        floor_s.append(clock.now() - began)

    def score() -> None:
        began = clock.now()
        board = make_leaderboard(gather([RECORDS]))
        own_s.append(clock.now() - began)
        assert len(board.rows) == 6

    benchmark.group = "scoring of 54 trials, intervals included"
    benchmark.pedantic(score, setup=read_lines, rounds=ROUNDS, warmup_rounds=1)
    benchmark.extra_info["ms to read the lines alone"] = statistics.median(floor_s) * 1e3
    benchmark.extra_info["speed against reading alone"] = ratio(floor_s[1:], own_s[1:])
