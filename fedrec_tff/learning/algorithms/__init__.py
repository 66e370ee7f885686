"""Federated algorithms, a file each: what clients do in a round, and what the server keeps."""
