"""The machine at hand: its fingerprint, and what would make its times doubtful."""

import os
import platform
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from bench.records import Machine

LOAD_LIMIT = 0.3
"""Load average per core above which times are doubtful: other programs take that share."""


@dataclass(frozen=True)
class Finding:
    """One line of `bench doctor`.

    Attributes:
        name: what was looked at.
        value: what was found.
        warning: why it makes times doubtful, and the remedy; empty where all is well.
    """

    name: str
    value: str
    warning: str = ""


def fingerprint(threads: int) -> Machine:
    """Return the fields that times depend on and that do not change from day to day.

    Args:
        threads: that a trainer computes with.
    """
    return Machine(
        cpu=cpu_model(),
        cores=usable_cores(),
        memory_gib=memory_bucket_gib(),
        device="cpu",
        threads=threads,
        torch=version("torch"),
    )


def cpu_model() -> str:
    """Return the processor's name as the operating system gives it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def usable_cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def memory_bucket_gib() -> int:
    """Return the memory rounded up to a power of two: firmware takes a share that changes."""
    size = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return 1 << max(0, (size - 1) >> 30).bit_length()


def examine(threads: int) -> list[Finding]:
    """Return what `bench doctor` prints: the fingerprint, then what makes times doubtful."""
    machine = fingerprint(threads)
    facts = [Finding(name, str(value)) for name, value in machine.model_dump().items()]
    return [*facts, _look_at_cores(machine), _look_at_load(machine), _look_at_governor()]


def _look_at_cores(machine: Machine) -> Finding:
    short = machine.cores < machine.threads
    warning = f"runs use {machine.threads} threads: they stay unranked here" if short else ""
    return Finding("cores for the threads", f"{machine.cores} of {machine.threads}", warning)


def _look_at_load(machine: Machine) -> Finding:
    load = os.getloadavg()[0]
    busy = load > LOAD_LIMIT * machine.cores
    warning = "other programs are running: stop them, or times will be too long" if busy else ""
    return Finding("load average (1 minute)", f"{load:.2f}", warning)


def _look_at_governor() -> Finding:
    path = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
    governor = path.read_text(encoding="utf-8").strip() if path.is_file() else "not exposed"
    slow = governor in {"powersave", "ondemand", "conservative"}
    warning = "clock frequency varies: set the governor to performance" if slow else ""
    return Finding("frequency governor", governor, warning)
