"""The command mer-label (label.py) and what all commands share (command.py)."""
