"""What an accelerator would take for a round, read off programs that were compiled for it."""
