"""The CNNs, and their checkpoints."""
