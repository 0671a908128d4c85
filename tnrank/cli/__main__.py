"""``python -m tnrank.cli``."""

from tnrank.cli import main

main()
