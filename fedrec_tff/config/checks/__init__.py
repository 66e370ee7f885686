"""Rules about several flags, a module a topic: what is refused before anything is read."""
