"""Models that recipes name: ``tnrank.get_backend("torch").trainer(NAME, **settings)``."""
