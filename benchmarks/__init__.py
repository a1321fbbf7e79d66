"""Artifacts in, one table of speed and accuracy out (mer-bench)."""
