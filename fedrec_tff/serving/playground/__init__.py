"""A page on this machine: choose items, see what models recommend, and why."""
