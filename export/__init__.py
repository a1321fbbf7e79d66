"""A checkpoint or .onnx in, a verified artifact out (mer-export)."""
