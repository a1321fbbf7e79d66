"""Rows in, something for people out: moods in tags (tagging/), playlists. songs.py reads the rows."""
