"""What is left out before samples are selected: near duplicates and the hardest samples."""
