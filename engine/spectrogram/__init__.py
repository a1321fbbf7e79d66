"""Samples in, log-mel spectrograms out. log_mel.py is the reference for every other path."""
