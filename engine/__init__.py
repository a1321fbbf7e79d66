"""Audio in, emotions out; never imports torch."""
