"""Whether the process of a run is alive, on this host or on another one."""
