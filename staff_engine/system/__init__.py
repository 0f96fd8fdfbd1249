"""Between the engine and the machine: whole files, processes, background jobs, memory, the hub, Arrow."""
