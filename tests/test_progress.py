"""What people see while trials run."""

import io
import re

import pytest
from factories import BUDGET_S, make_event, make_run, make_trial
from rich.console import Console

from bench.report.progress import QUIET_S, Progress

OUTCOMES = {"gpt": {"adamw": [30.0, 30.0], "schedule_free_adamw": [30.0, 30.0]}}


class FakeClock:
    def __init__(self) -> None:
        self.time_s = 0.0

    def now(self) -> float:
        return self.time_s


@pytest.fixture
def screen():
    return Console(file=io.StringIO(), width=80, force_terminal=False)


@pytest.fixture
def progress(screen):
    run = make_run(OUTCOMES)
    return Progress(run, run.plan, console=screen, clock=FakeClock())


def draw(progress: Progress) -> str:
    console = Console(file=io.StringIO(), width=80, force_terminal=False)
    console.print(progress.render())
    return console.file.getvalue()


def test_the_table_tells_the_running_trial_within_80_columns(progress):
    longest = progress.todo[0].model_copy(update={"workload": "cifar_resnet"})
    progress.record.workloads["cifar_resnet"] = progress.record.workloads["gpt"]
    progress.ended(make_trial(longest.model_copy(update={"submission": "schedule_free_adamw"})))
    progress.started(progress.todo[0])
    progress.evaluated(make_event(0, 12.0, 0.7))
    progress.clock.time_s += 3.0
    drawn = draw(progress)
    assert "…" not in drawn
    (line,) = [line for line in drawn.splitlines() if "running" in line]
    for shown in ("gpt", "adamw", "120", "0.7000", "0.9", "15/100", "3%"):
        assert shown in line.split(), shown


def test_seconds_do_not_run_past_the_budget(progress):
    progress.started(progress.todo[0])
    progress.clock.time_s += 10 * BUDGET_S
    assert f"{BUDGET_S:.0f}/{BUDGET_S:.0f}" in draw(progress)


def test_the_time_left_follows_what_trials_took(progress):
    assert progress.left_s() == pytest.approx(0.75 * 4 * BUDGET_S)
    progress.started(progress.todo[0])
    progress.clock.time_s += 20.0
    progress.ended(make_trial(progress.todo[0], wall_s=20.0))
    assert progress.left_s() == pytest.approx(3 * 20.0)
    progress.started(progress.todo[1])
    progress.clock.time_s += 5.0
    assert progress.left_s() == pytest.approx(3 * 20.0 - 5.0)
    progress.clock.time_s += 35.0
    assert progress.left_s() == pytest.approx(2 * 20.0 + (BUDGET_S - 40.0) / 2)
    progress.clock.time_s += 2 * BUDGET_S
    assert progress.left_s() == pytest.approx(2 * 20.0)


def test_what_has_ended_stays_in_sight(progress):
    progress.started(progress.todo[0])
    progress.ended(make_trial(progress.todo[0], status="diverged", validation=0.25))
    drawn = draw(progress)
    assert "diverged" in drawn
    assert "0.2500" in drawn
    assert "[1/4] trials" in drawn


def test_without_a_terminal_there_are_plain_lines_and_not_too_many(progress, screen):
    with progress:
        progress.started(progress.todo[0])
        for index in range(10):
            progress.clock.time_s += QUIET_S / 4
            progress.evaluated(make_event(index, progress.clock.time_s, 0.5))
        progress.ended(make_trial(progress.todo[0], reason="[red]odd[/red]"))
    lines = screen.file.getvalue().splitlines()
    assert re.match(r"4 trials to run: about 5 min, .*at most 7 min", lines[0])
    assert len([line for line in lines if "accuracy 0.5000 (target 0.9)" in line]) == 2
    assert "[1/4] gpt/adamw/study_0/trial_0: reached: [red]odd[/red]" in lines[-1]
    assert "\x1b" not in screen.file.getvalue()
