"""Data of the workloads: sources, decoding to tensors once, cache, seeded order.

`bench.data.split.load_split` hands out the tensors; what is here needs no torch.
"""

from bench.data.preparation import data_sha256, is_cached, prepare, verify

__all__ = ["data_sha256", "is_cached", "prepare", "verify"]
