"""Parts of a training step: each pure, small and tested against its formula."""
