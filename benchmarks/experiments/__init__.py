"""Comparisons beside the table: two models, whole pipelines, lengths of catalogues, a GPU."""
