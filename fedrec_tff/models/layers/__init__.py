"""What towers are made of, as functions of tensors."""
