"""Moods into the tags of files, and back: moods.py says what stands where and
others.py what must stay, tag_run.py goes over the songs.

A file is replaced whole (replacement.py) by a copy whose sound is the same (sound.py); how to get its bytes
of before is written first (undo_file.py, differences.py).
"""
