"""One network, one split and one recipe in, trained weights out."""
