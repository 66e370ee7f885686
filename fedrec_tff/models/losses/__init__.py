"""Losses by name: what is known of them, their formulas, and those of one's own."""
