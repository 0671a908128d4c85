"""What acts on the arrays of a tree format, given as ``{node: array}``: conversion, modes, sums, changes of tree."""
