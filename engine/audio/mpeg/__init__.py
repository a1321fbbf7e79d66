"""MP3 and ADTS: streams of frames without a container. frame_walk.py finds the frames of both."""
