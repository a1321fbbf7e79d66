"""Labelled audio in, split and cached spectrograms out."""
