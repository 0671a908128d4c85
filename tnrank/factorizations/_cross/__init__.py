"""Cross approximation: a hierarchical Tucker tensor from values of a function."""
