"""The fixture ``serve`` of listening.py."""

from listening import serve

__all__ = ["serve"]
