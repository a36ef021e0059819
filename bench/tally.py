"""Processor time of a trainer, against what the rules give it."""

from dataclasses import dataclass

CORES_TOLERANCE = 1.1
CORES_GRACE_S = 1.0
"""Of processor time: what a trainer may take beyond its threads, for clocks differ."""
IDLE_GRACE_S = 1.0
"""Of processor time, in a whole trial, while it is stopped: what is late to stop."""


@dataclass
class Work:
    """What a trainer has worked.

    Attributes:
        threads: that it may keep busy.
        trained_s: seconds on the clock.
        worked_s: of processor time in them.
        idled_s: of processor time while the clock stood.
    """

    threads: int
    trained_s: float = 0.0
    worked_s: float = 0.0
    idled_s: float = 0.0

    def find_breach(self) -> str:
        """Return which rule it has broken, and how; empty if none."""
        if self.worked_s > CORES_TOLERANCE * self.threads * self.trained_s + CORES_GRACE_S:
            used = f"{self.worked_s:.1f} s of processor time within {self.trained_s:.1f} s"
            return f"it took {used}, with {self.threads} threads allowed (RULES 14)"
        if self.idled_s > IDLE_GRACE_S:
            return f"it worked for {self.idled_s:.1f} s while the clock stood (RULES 5)"
        return ""
