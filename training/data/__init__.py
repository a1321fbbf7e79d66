"""Labelled audio in, cached spectrograms and their splits out. examples.py says what an example is."""
