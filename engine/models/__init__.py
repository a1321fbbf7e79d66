"""The bundled artifacts, each an .onnx file beside its model card."""
