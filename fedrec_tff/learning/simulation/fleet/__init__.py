"""Devices as they are, and rounds on a simulated clock: no TensorFlow here."""
