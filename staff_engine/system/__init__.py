"""Between the engine and the machine: whole files, processes, memory, the hub, Arrow."""
