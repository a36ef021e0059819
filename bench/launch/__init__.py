"""Which trials to run, and where."""
