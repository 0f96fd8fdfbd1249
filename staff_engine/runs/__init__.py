"""Run folders: state, start and stop, the worker, what a run left."""
