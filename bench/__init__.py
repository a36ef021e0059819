"""A benchmark of neural-network training algorithms: time to target on fixed workloads."""

__version__ = "0.1.0"
