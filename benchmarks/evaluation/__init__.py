"""Labelled audio and models in, how right their labels are out (mer-eval)."""
