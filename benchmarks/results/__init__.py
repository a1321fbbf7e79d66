"""Measured rows in, a ranked table out: terminal, CSV, Markdown, HTML."""
