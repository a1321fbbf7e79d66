"""A file in, its artist, title and album out: written.py chooses the reader by the file's first bytes."""
