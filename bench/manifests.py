"""The TOML of a plug-in's folder, read and checked, without importing its code."""

from pathlib import Path

from bench.config import ScaleConfig, SubmissionConfig, WorkloadConfig, read_toml
from bench.errors import BenchError, nearest
from bench.folders import MANIFEST


def read_workload(folder: Path) -> WorkloadConfig:
    """Read a workload's TOML.

    Raises:
        BenchError: if it is wrong, or its name is not its folder's.
    """
    path = folder / MANIFEST["workloads"]
    config = read_toml(path, WorkloadConfig)
    _check_name(config.name, path)
    return config


def read_submission(folder: Path) -> SubmissionConfig:
    """Read a submission's TOML.

    Raises:
        BenchError: if it is wrong, or its name is not its folder's.
    """
    path = folder / MANIFEST["submissions"]
    config = read_toml(path, SubmissionConfig)
    _check_name(config.name, path)
    return config


def choose_scale(config: WorkloadConfig, scale: str) -> ScaleConfig:
    """Return one of a workload's scales.

    Raises:
        BenchError: if it has none of that name; offers the nearest.
    """
    if scale not in config.scales:
        message = f"workload '{config.name}' has no scale '{scale}'"
        raise BenchError(message, nearest(scale, config.scales))
    return config.scales[scale]


def _check_name(name: str, path: Path) -> None:
    if name != path.parent.name:
        message = f"{path}: name '{name}' is not its folder's, '{path.parent.name}'"
        raise BenchError(message, "make them equal")
