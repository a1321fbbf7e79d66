"""Labelled audio, and how right a set of labels is; no torch."""
