"""Hierarchical Tucker tensors of arrays that are larger than memory."""
