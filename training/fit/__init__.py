"""A network and examples in, trained weights out. trainer.py holds the loop; batches.py says what it reads."""
