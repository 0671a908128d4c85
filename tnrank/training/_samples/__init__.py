"""Scores of samples under a factorization, with their gradients: what ``fit`` trains."""
