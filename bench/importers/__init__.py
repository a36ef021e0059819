"""Other benchmarks' logs, taken over into records. No torch."""
