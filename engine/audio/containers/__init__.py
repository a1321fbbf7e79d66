"""What the bytes of WAV, AIFF, CAF, FLAC and Ogg say that libsndfile does not see. Nothing is decoded."""
