"""The built-in query towers, a file each: tensors beside the encoder, built as one's own are.

They can be built without TensorFlow, which is imported when one encodes.
"""
