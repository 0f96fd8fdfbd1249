"""The baselines of STAFF: other methods that select coresets from the existing scores of a run.

One module per method. All have the same interface, and each names its source.
"""
