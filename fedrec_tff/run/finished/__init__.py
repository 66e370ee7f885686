"""A finished run, opened again: its model, its items and, where they matter, its data."""
