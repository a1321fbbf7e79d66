"""Artifacts in, one table of speed and accuracy out (mer-bench). The contract is ``Row``, in row.py."""
