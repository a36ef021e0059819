import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from bench.cli.check import check
from bench.conformance.finding import Finding
from bench.conformance.submissions import check_submission, corners
from bench.conformance.workloads import check_workload
from bench.errors import BenchError
from bench.scaffold import scaffold
from bench.search_space import Dimension

app = typer.Typer()
app.command()(check)

TOML = 'name = "broken"\ntitle = "t"\nsource = "s"\n[defaults]\nlr = 0.1\n'
CODE = """
from contextlib import contextmanager
import torch
from bench.api import Submission

class Broken(Submission):
    def __init__(self, task, hparams):
        super().__init__(task, hparams)
        self.lr, self.count = hparams["lr"], 0

    def step(self, batch):
        loss = self.task.loss(batch)
        loss.backward()
        self.count += 1
        with torch.no_grad():
            for p in self.task.parameters:
                p.tensor.sub_(self.lr / self.count * p.tensor.grad)
                p.tensor.grad = None
        return loss.detach()

    def state_dict(self):
        return {"count": self.count}

    def load_state_dict(self, state):
        self.count = state["count"]
"""
EVAL = """
    @contextmanager
    def eval_weights(self):
        with torch.no_grad():
            self.task.parameters[0].tensor.mul_(2)
        yield
"""


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BENCH_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture
def workload(tmp_path) -> Path:
    return scaffold("workloads", "mlp", tmp_path / "workloads")


def write(tmp_path: Path, code: str, toml: str = TOML) -> Path:
    folder = tmp_path / "broken"
    folder.mkdir()
    (folder / "submission.toml").write_text(toml)
    (folder / "submission.py").write_text(code)
    return folder


def failures(findings: list[Finding]) -> dict[str, str]:
    return {finding.check: finding.reason for finding in findings if finding.reason is not None}


def check_code(tmp_path: Path, workload: Path, code: str, toml: str = TOML) -> dict[str, str]:
    return failures(check_submission(write(tmp_path, code, toml), {"mlp": workload}))


def test_a_submission_written_by_hand_passes(tmp_path, workload):
    assert check_code(tmp_path, workload, CODE) == {}


@pytest.mark.parametrize(
    ("old", "new", "check", "reason"),
    [
        ("return loss.detach()", "return loss.item()", "two steps", "returned float"),
        ("return loss.detach()", "return loss", "two steps", "detach it"),
        ("return loss.detach()", "return loss.detach()[None]", "two steps", "shape (1,), not ()"),
        ("tensor.sub_(", "tensor.add(", "two steps", "changed no weight"),
        ("tensor.sub_(", "tensor.add_(float('nan') * ", "two steps", "a loss of nan"),
        ("self.count = state", "_ = state", "checkpoint", "after a checkpoint"),
        ('{"count": self.count}', '{"count": self}', "checkpoint", "UnpicklingError"),
        ("/ self.count", "* __import__('random').random()", "same seed, same losses", "try"),
        ("return {", "raise KeyError\n        return {", "checkpoint", "KeyError"),
    ],
)
def test_what_a_submission_breaks_is_found(tmp_path, workload, old, new, check, reason):
    assert old in CODE
    assert reason in check_code(tmp_path, workload, CODE.replace(old, new))[check]


def test_weights_that_eval_weights_leaves_behind_are_named(tmp_path, workload):
    found = check_code(tmp_path, workload, CODE + EVAL)
    assert found == {"eval_weights": "eval_weights did not put back hidden.weight"}


def test_a_corner_that_cannot_be_built_is_named(tmp_path, workload):
    code = CODE.replace('hparams["lr"], 0', 'hparams["lr"], int(1 / (hparams["lr"] - 2))')
    space = "[search_space]\nlr = { low = 1.0, high = 2.0 }\n"
    found = check_code(tmp_path, workload, code, TOML + space)
    assert found["search space"].startswith("at lr = 2.0: ZeroDivisionError")


def test_what_cannot_be_built_or_read_is_said_once(tmp_path, workload):
    found = check_code(tmp_path, workload, "import nothing_like_it")
    assert list(found) == ["is built"]
    (tmp_path / "broken" / "submission.toml").write_text("name = 3")
    found = failures(check_submission(tmp_path / "broken", {"mlp": workload}))
    assert list(found) == ["is configured"]


def test_corners_start_with_the_extremes():
    space = {
        "a": Dimension(low=1, high=2),
        "b": Dimension(choices=["x", "y", "z"]),
        "n": Dimension(low=1, high=3, integer=True),
    }
    found = list(corners(space))
    assert found[:2] == [{"a": 1.0, "b": "x", "n": 1}, {"a": 2.0, "b": "z", "n": 3}]
    assert len(found) == 2 * 3 * 2
    assert all(isinstance(corner["n"], int) for corner in found)
    assert list(corners({})) == [{}, {}]


@pytest.mark.parametrize(
    ("old", "new", "check", "reason"),
    [
        ("self.head", "self.hood", "model and roles", "under `head`"),
        ('reduction="none"', 'reduction="mean"', "batches and loss", "shape ()"),
        ("correct += int(hits.sum())", "correct += hits.double().mean()", "evaluation", "size"),
        ("float() / LEVELS", "float() / LEVELS + torch.rand(1)", "batches and loss", "elsewhere"),
        ("class Workload(", "class Warkload(", "is built", "no complete class Workload"),
    ],
)
def test_what_a_workload_breaks_is_found(workload, old, new, check, reason):
    for path in workload.glob("*.py"):
        path.write_text(path.read_text().replace(old, new))
    assert reason in failures(check_workload(workload))[check]


def invoke(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout


def test_the_command_prints_marks_and_exits_with_2_on_a_failure(tmp_path, workload):
    where = ["-w", "mlp", "--path", workload]
    code, text = invoke("adamw", workload, *where)
    assert (code, text.count("✗")) == (0, 0)
    assert text.count("✓") == 6 + 4
    broken = write(tmp_path, CODE.replace("return loss.detach()", "return loss"))
    code, text = invoke(broken, *where)
    assert code == 2
    assert "mlp, two steps: step returned a loss with its graph" in " ".join(text.split())


def test_json_is_an_array_of_findings(workload):
    code, text = invoke(workload, "-w", "mlp", "--path", workload, "--json")
    findings = json.loads(text)
    assert code == 0
    assert findings[0] == {
        "name": "mlp",
        "workload": "mlp",
        "check": "is built",
        "reason": None,
        "passed": True,
    }


@pytest.mark.parametrize(
    ("plugin", "message", "hint"),
    [
        ("nadamv", "unknown submission or workload 'nadamv'", "did you mean 'nadamw'?"),
        ("some/where", "some/where holds no workload.toml or submission.toml", "give a plug-in's"),
    ],
)
def test_what_is_not_there_is_named(plugin, message, hint):
    with pytest.raises(BenchError) as caught:
        invoke(plugin)
    assert caught.value.message == message
    assert caught.value.hint.startswith(hint)
