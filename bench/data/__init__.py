"""Data of the workloads: sources, decoding to tensors once, cache, seeded order."""
