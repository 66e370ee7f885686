"""Client work in batches, on any device of a current XLA.

TensorFlow lowers the work of one client to XLA's form of programs, here. A worker process, whose
environment has a current JAX, makes a program over a block of clients of it, compiles it for its
devices and runs it (`worker/`, which imports neither TensorFlow nor TFF).
"""
