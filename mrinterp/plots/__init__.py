"""One figure per file: a core object in, Axes out. matplotlib lives here."""
