"""The named errors of the engine: each carries one line that a person can act on."""


class StaffError(Exception):
    """An error whose message says what is wrong, the value, and what is allowed.

    The command line prints it and exits with 2; a page shows it and stops.
    """


class DatasetError(StaffError):
    """The data cannot be read, or not as samples."""


class PlanError(StaffError):
    """A setting, or a combination of settings, is not allowed."""


class ModelError(StaffError):
    """A model or tokenizer cannot be loaded or does not fit the task."""


class RunError(StaffError):
    """A run is missing, damaged, or not in a state that allows the request."""
