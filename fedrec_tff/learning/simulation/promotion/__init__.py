"""Attacks on recommenders as published: each pushes target items by the rows that it sends."""
