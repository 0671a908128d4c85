"""Tensor rank: bounds, witnesses and certificates."""
