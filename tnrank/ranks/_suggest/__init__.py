"""A dimension tree chosen from data."""
