"""Scores to strata, verification, allocation and a coreset."""
