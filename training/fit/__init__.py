"""A network and examples in, trained weights out. trainer.py holds the loop, batches.py what it reads."""
