"""Sweeps: cells of a grid and of seeds, trained in batches, here or by workers, and their table."""
