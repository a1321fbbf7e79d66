"""Text that leaves the program, escaped for where it will be shown: escape.py."""
