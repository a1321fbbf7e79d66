"""Rows in, something for people out: moods in tags (tagging/), playlists, a page (page/), a picture."""
