"""The recipes, a few files each: what is run (``_name``), and its numbers, tables and verdict (``_name_report``)."""
