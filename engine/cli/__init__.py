"""The command mer-label, in label.py, and what it shares with the other commands, in command.py."""
