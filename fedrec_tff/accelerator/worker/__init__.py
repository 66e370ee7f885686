"""The worker's side: JAX and NumPy, without TensorFlow and TFF."""
