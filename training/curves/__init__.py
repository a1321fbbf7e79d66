"""How good a head on frozen embeddings gets with few clips, and whether a choice of the clips helps it."""
