"""Audio in, emotions out. Nothing in here imports torch."""
