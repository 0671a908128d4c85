"""The recipes, one or two files each: what is run (``_name``), and its numbers, table and verdict (``_name_report``)."""
