"""Whether the files of a run are what was written, and what to do if they are not."""
