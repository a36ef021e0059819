import os
import sys
from collections.abc import Callable
from pathlib import Path

# Before torch is imported: tests run side by side, and threads that spin starve the others.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import hypothesis
import pytest

from bench.cli import main

hypothesis.settings.register_profile("bench", deadline=None)  # tests share the cores
hypothesis.settings.load_profile("bench")

Bench = Callable[..., int]


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Bench:
    """The command line, in this process and in an empty folder; returns the exit code."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str) -> int:
        monkeypatch.setattr(sys, "argv", ["bench", *arguments])
        try:
            main()
        except SystemExit as end:
            return int(end.code or 0)
        return 0

    return call
