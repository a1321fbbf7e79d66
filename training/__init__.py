"""Labelled audio in, a checkpoint (safetensors and its ModelSpec) out."""
