"""Fitting CP factorizations to dense tensors: starts, alternating least squares, Levenberg-Marquardt."""
