"""Inputs in, rows on disk out. rows.py defines a row, and run.py runs over a catalogue."""
