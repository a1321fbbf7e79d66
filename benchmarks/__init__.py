"""Artifacts in, one table out."""
