"""Which samples of a run the target must still score, and what is stored about it besides the scores."""
