"""What ``mer-bench first-hour`` checks on a GPU, each in a process of its own; ``plan`` lists the checks.

It needs PyTorch, and neither TensorRT nor DALI nor anything that reads audio files: a stand-in runs the ONNX
graphs in torch, on the addresses and the stream that the real runtime gives it.
"""
