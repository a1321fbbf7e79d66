"""Clips as networks that were trained before hear them: one vector a window, kept on disk."""
