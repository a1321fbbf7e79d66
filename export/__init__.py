"""A checkpoint or .onnx in, a verified artifact out (mer-export)."""

OPSET = 20
"""The oldest that is exported, and that of what torch exports here."""
