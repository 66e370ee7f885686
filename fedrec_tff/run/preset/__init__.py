"""Flags that nobody gave: chosen by rules from what may be known of the data, or read by name."""
