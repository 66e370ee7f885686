"""Smaller forms of a finished model: made, stored, opened and measured."""
