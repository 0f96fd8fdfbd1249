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


LONGEST_SHOWN = 60
"""Characters of a value that a message shows."""


def shortened(value: object) -> str:
    """A value as Python writes it, shortened: how a message shows a value that can be long."""
    text = repr(value)
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}… ({len(text):,} characters)"
