"""Entanglement of data sets: the report, the tree that lowers it, and what they are computed with."""
