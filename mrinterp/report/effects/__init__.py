"""The same page and its twin for effects that Mendelian randomization gave from a table or from runs in hand."""
