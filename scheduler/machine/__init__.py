"""Effects: one module per kind of thing outside (files, processes, sockets, devices)."""
