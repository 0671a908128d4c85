"""Errors of the library in the words of the command: its options in place of Python's arguments."""

from __future__ import annotations

import re

_WORDS = (
    (r"\(wait=True\)", "(--wait)"),
    (r"or go without, figure=False", "or go without: --no-figure"),
    (r"name one by key='([^']*)'", r"name one by --key \1"),
    (r"name one by key=", "name one by --key"),
    (r"got key='([^']*)'", r"got --key \1"),
    (
        r"raise memory=, raise rtol \(now ([^)]*)\), give max_rank=, or choose a tree",
        r"raise --memory, raise --rtol (now \1), or choose a --tree",
    ),
    (r"use DimensionTree\.balanced\(\d+\)", "use --tree balanced"),
    (r"use method='(\w+)'", r"use --method \1"),
    (r"raise rtol, or leave it None", "raise --rtol, or leave it out"),
    (
        r"raise it, or take HierarchicalTucker\.from_dense\(x, method='qr'\) where the array fits into memory",
        "raise --rtol, or raise --memory above four times the size of the file",
    ),
    (r"or give rtol$", "or give --rtol"),
    (r"tnrank\.fill_missing\b", "tnrank complete"),
    (
        r"; tnrank\.experiments\.load_recipes\('(.*)'\) makes its recipes known",
        r": give --module \1 and a recipe's name",
    ),
    (r"; hold_out=0 holds none out", "; --hold-out 0 holds none out, and then no error is measured"),
    (r"^hold_out is", "--hold-out is"),
    (r"convert to float32 or float64 first, or give rtol$", "give --rtol, such as --rtol 2e-2"),
    (r"give (delimiter|decimal|thousands)=", r"give --\1 "),
    (r"\bindex_column=True\b", "--index-column"),
    (r"\bindex_column=False\b", "--no-index-column"),
    (r"\bheader=True\b", "--header"),
    (r"^(rank|depth|steps|std) is", r"--\1 is"),
    (
        r"^mf is for matrices, and an array of shape (.*) has order (\d+): model='cp' or model='htf'",
        r"mf is for matrices, and a tensor of shape \1 has order \2: use --model cp or htf",
    ),
    (
        r"write NaN where an entry is missing, or give mask=, true where one is$",
        "write NaN where an entry is missing, or give a mask (--missing MASK.npy, 1 where an entry is missing)",
    ),
    (r"^mask marks no entry of (.*) as missing: it is true where one is$", r"--missing marks no entry of \1"),
    (r": mark it, mask=mask \| ~numpy\.isfinite\(array\)", ": mark it by 1 in the mask"),
    (r"; or, if mask is true where an entry is observed, mask=~mask$", ", which has 1 where an entry is missing"),
    (r": write NaN there, numpy\.where\(numpy\.isfinite\(array\), array, numpy\.nan\)", ": write NaN there"),
    (r": dtype='float64', or array / (\S+)$", r": give --dtype float64, or divide the tensor by \1"),
    (r": array / (\S+)$", r": divide the tensor by \1"),
    (
        r": pass tnrank\.data\.gray\(numpy\.moveaxis\(X, 1, -1\)\)$",
        ": save numpy.moveaxis(X, 1, -1) instead, and give --gray",
    ),
    (r": pass tnrank\.data\.gray\(X\)$", ": give --gray"),
    (r": pass (X\.reshape\(.*\))$", r": save \1 instead"),
    (r": pass (images\W.*?)(, with the same numbers for training and test)?$", r": save \1 instead"),
    (r"\bpass rescale=True", "give --rescale"),
    (r"\bgive grid=\(H, W\)", "give --grid HxW"),
    (r", pass twins=True", ", leave --no-twins out"),
    (r"correlation_tree\(X\)", "--tree correlation"),
    (
        r": pass y == '?(.+?)'?, which tells one class from the others$",
        r": give --positive \1, one class against the others",
    ),
    (r": leave y out$", ": leave --labels out"),
    (r"or a smaller scale\.$", "or a smaller --scale."),
    (r"give more by samples=$", "give more by --samples"),
    (r"give samples=500, or as many as fit$", "give --samples 500, or as many as fit"),
    (r"^got a grid and a tree: (.*), leave grid out$", r"got --grid and --tree: \1, leave --grid out"),
    (r"(got|leave) grid\b", r"\1 --grid"),
    (r"^(scale|blocks|seed|samples) is", r"--\1 is"),
    (r"a tree belongs to the model htf, got model (\w+)", r"--tree belongs to --model htf, got --model \1"),
)


def in_options(text: str) -> str:
    """A message with the options of the command where it names arguments of a function."""
    for pattern, words in _WORDS:
        text = re.sub(pattern, words, text)
    return text
