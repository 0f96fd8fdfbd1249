"""What the program is called, and the command that people type."""

NAME = "STAFF Studio"

COMMAND = "python -m staff_engine"
