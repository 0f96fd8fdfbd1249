"""The named errors of the engine. Each has a message of one line that the user can act on."""


class StaffError(Exception):
    """An error whose message states what is wrong, the value, and what is allowed.

    The command line prints the message and exits with code 2. A page shows it and stops.
    """


class DatasetError(StaffError):
    """The data cannot be read, or cannot be read as samples."""


class PlanError(StaffError):
    """A setting, or a combination of settings, is not allowed."""


class ModelError(StaffError):
    """A model or tokenizer cannot be loaded or does not fit the task."""


class RunError(StaffError):
    """A run is missing, damaged, or not in a state that allows the request."""
