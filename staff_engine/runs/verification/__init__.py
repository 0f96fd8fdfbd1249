"""What a run stores about the verification of its samples, besides their scores."""
