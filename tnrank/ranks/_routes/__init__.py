"""Spectra of the matricizations of anything: the route that measures them, chosen by cost."""
