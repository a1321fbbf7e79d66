"""A network's predictions in, metrics, a model card and figures out."""
