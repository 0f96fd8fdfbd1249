"""Access to the machine: atomic files, processes, background jobs, memory, the hub, Arrow."""
