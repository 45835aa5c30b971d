"""Work that outlives a click: in a thread (`background`), or in a process of its own."""
