"""Labelled audio in, a checkpoint (safetensors with a ModelSpec) out (mer-train)."""
