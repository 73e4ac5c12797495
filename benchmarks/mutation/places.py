"""Everything that can be mutated in a file: operators and numbers, each with what may stand there instead."""

from __future__ import annotations

import ast
from dataclasses import dataclass

ORDER = ("<", "<=", ">", ">=")
INSTEAD = {
    **{one: tuple(other for other in ORDER if other != one) for one in ORDER},
    "==": ("!=",),
    "!=": ("==",),
    "+": ("-", "*"),
    "-": ("+", "*"),
    "*": ("/", "+"),
    "/": ("*", "-"),
    "**": ("*", "+"),
    "//": ("*", "+"),
    "and": ("or",),
    "or": ("and",),
}
"""What each operator may become (the usual replacements of relational, arithmetic and logical operators)."""
SYMBOLS = {
    ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=", ast.Eq: "==", ast.NotEq: "!=",
    ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/", ast.Pow: "**", ast.FloorDiv: "//",
}  # fmt: skip


@dataclass(frozen=True)
class Mutant:
    """One change of one place: ``old`` at ``start`` (offset in the file) becomes ``new``."""

    file: str
    line: int
    start: int
    old: str
    new: str

    def applied(self, text: str) -> str:
        """The file's text with the change made."""
        assert text[self.start : self.start + len(self.old)] == self.old
        return text[: self.start] + self.new + text[self.start + len(self.old) :]


class Places(ast.NodeVisitor):
    """Everything that can be mutated in one file; annotations, messages and docstrings are left alone."""

    def __init__(self, file: str, text: str) -> None:
        self.file, self.text = file, text
        self.found: list[list[Mutant]] = []
        self.offsets = [0]
        for line in text.splitlines(keepends=True):
            self.offsets.append(self.offsets[-1] + len(line))
        self.visit(ast.parse(text))

    def at(self, line: int, column: int) -> int:
        """Offset of a place that the parser gives by line and byte."""
        whole = self.text[self.offsets[line - 1] : self.offsets[line]]
        return self.offsets[line - 1] + len(whole.encode()[:column].decode())

    def add(self, line: int, start: int, old: str, news: tuple[str, ...]) -> None:
        """One place, with all that may stand there instead."""
        self.found.append([Mutant(self.file, line, start, old, new) for new in news])

    def between(self, left: ast.expr, right: ast.expr, old: str) -> None:
        """An operator that stands between two operands."""
        a = self.at(left.end_lineno or 0, left.end_col_offset or 0)
        b = self.at(right.lineno, right.col_offset)
        here = self.text[a:b].find(old)
        if here >= 0 and "#" not in self.text[a:b]:
            self.add(left.end_lineno or 0, a + here, old, INSTEAD[old])

    def visit_Raise(self, node: ast.Raise) -> None: ...

    def visit_JoinedStr(self, node: ast.JoinedStr) -> None: ...

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            self.visit(node.value)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        for part in (*node.args.defaults, *(d for d in node.args.kw_defaults if d is not None), *node.body):
            self.visit(part)

    def visit_Compare(self, node: ast.Compare) -> None:
        for left, op, right in zip([node.left, *node.comparators], node.ops, node.comparators, strict=False):
            old = SYMBOLS.get(type(op))
            if old is not None:
                self.between(left, right, old)
        self.generic_visit(node)

    def visit_BinOp(self, node: ast.BinOp) -> None:
        old = SYMBOLS.get(type(node.op))
        words = any(
            isinstance(x, ast.JoinedStr | ast.List | ast.Tuple)
            or (isinstance(x, ast.Constant) and isinstance(x.value, str))
            for x in (node.left, node.right)
        )
        if old is not None and not words:
            self.between(node.left, node.right, old)
        self.generic_visit(node)

    def visit_BoolOp(self, node: ast.BoolOp) -> None:
        old = "and" if isinstance(node.op, ast.And) else "or"
        for left, right in zip(node.values, node.values[1:], strict=False):
            self.between(left, right, old)
        self.generic_visit(node)

    def visit_UnaryOp(self, node: ast.UnaryOp) -> None:
        if isinstance(node.op, ast.USub):
            self.add(node.lineno, self.at(node.lineno, node.col_offset), "-", ("+",))
        self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> None:
        value = node.value
        if isinstance(value, bool) or not isinstance(value, int | float):
            return
        start, end = (
            self.at(node.lineno, node.col_offset),
            self.at(node.end_lineno or 0, node.end_col_offset or 0),
        )
        news = (value + 1, value - 1) if isinstance(value, int) or value == 0 else (value * 2, value / 2)
        self.add(node.lineno, start, self.text[start:end], tuple(map(repr, news)))
