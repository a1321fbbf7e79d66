"""Inputs in, rows on disk out. Rows are made in rows.py, and a run over a catalogue is in run.py."""
