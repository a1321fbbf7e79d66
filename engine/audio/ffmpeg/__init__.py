"""FFmpeg through PyAV: decoder.py reads, timestamps.py says where its frames stand."""
