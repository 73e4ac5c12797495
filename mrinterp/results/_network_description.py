"""What a network is to a study: its sites in words, its tokenizer, the prompts' tokens, what a study would choose and cost."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from textwrap import fill
from typing import Annotated, Any, ClassVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mrinterp.core.printable import printable
from mrinterp.core.shown import listed
from mrinterp.results._result import Axis, Result, Rows, Shape

__all__ = ["SITE_KINDS", "NetworkDescription"]

SITE_KINDS = {
    "residual": "the residual stream after (or before) a block: all that later blocks see passes through it",
    "mlp_neurons": "neurons of a block's MLP, after the activation function",
    "mlp_inputs": "what goes into the MLP's activation function, or gates it",
    "mlp_output": "what the MLP adds to the residual stream",
    "heads": "outputs of the attention heads side by side, before they are added up",
    "queries": "queries, keys or values of the attention heads",
    "attention_output": "what attention adds to the residual stream",
    "hidden": "in a network without a stack of blocks: the last step before its middle layer",
    "norm": "a layer norm: the stream centered and scaled, which cannot move in every direction",
    "embedding": "embeddings of tokens, positions and types, where noise can be added",
    "output": "the network's last steps: final norm, logits, pooled or class outputs",
    "other": "anything else",
}
"""Kinds of site, and what each is."""

TO_CONSIDER = ("model.site", "features.position", "instruments.noise.scale")
"""Choices whose reasons are shown without being asked for."""

KINDS_SHOWN = 6
"""Places of a block that `print` names; `text` has all."""


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class NetworkDescription(Result):
    """What `mrinterp.describe` found about a network: S sites and what they are, tokens, suggestions, cost.

    Parameters
    ----------
    name : str
        Type of the network, or the folder that it came from.
    sites : tuple of str
        Addresses, in the order of the network's modules.
    site_kind : ndarray (S,) of str
        Kind of each site, such as ``residual``; `mrinterp list sites` says what they are.
    block : ndarray (S,) of int
        Number of its block; -1 outside the blocks.
    width : ndarray (S,) of int
        Width of its activation; 0 where no pass has shown it.
    heads : ndarray (S,) of int
        Attention heads that lie side by side there; 0 where none do.
    what : ndarray (S,) of str
        What it is, in words.
    pattern : ndarray (S,) of str
        Its address with K for the number of its block.
    facts : dict of str
        Architecture in words: blocks, residual width, heads, parameters, positions.
    tokenizer : dict of str
        What the tokenizer does, in words; empty for a network without one.
    classes : DataFrame
        ``token_class, least, most, example``: tokens per prompt of each token class, of the prompts that were given.
    suggestions : DataFrame
        ``key, value, why``: what a study file would say, and why.
    cost : dict of str
        Time and memory of a small study, in words; empty where the network was not run.
    meta : dict
        Whatever else a caller needs: the numbers behind the words.

    Examples
    --------
    >>> from mrinterp.results import example
    >>> print(example("NetworkDescription").summary)
    network gpt2: 3 sites
    """

    KIND: ClassVar[str] = "network"

    name: str
    sites: Annotated[tuple[str, ...], Axis("S")]
    site_kind: Annotated[NDArray[Any], Shape("S")]
    block: Annotated[NDArray[np.int_], Shape("S")]
    width: Annotated[NDArray[np.int_], Shape("S")]
    heads: Annotated[NDArray[np.int_], Shape("S")]
    what: Annotated[NDArray[Any], Shape("S")]
    pattern: Annotated[NDArray[Any], Shape("S")]
    facts: dict[str, str] = field(default_factory=dict)
    tokenizer: dict[str, str] = field(default_factory=dict)
    classes: Annotated[pd.DataFrame, Rows(columns=("token_class", "least", "most", "example"))]
    suggestions: Annotated[pd.DataFrame, Rows(columns=("key", "value", "why"))]
    cost: dict[str, str] = field(default_factory=dict)
    meta: dict[str, Any] = field(default_factory=dict)

    @property
    def summary(self) -> str:
        """What it is and how many sites it has, in one line."""
        return f"network {self.name}: {len(self.sites):,} sites"

    def to_frame(self) -> pd.DataFrame:
        """One row per site."""
        columns = ("block", "width", "heads", "what")
        own = {"site": list(self.sites), "kind": self.site_kind}
        return pd.DataFrame(own | {c: getattr(self, c) for c in columns})

    def suggested(self, key: str) -> str:
        """What a study file would say under a key, as it is written there; empty where nothing is suggested."""
        found = self.suggestions.loc[self.suggestions["key"] == key, "value"]
        return str(found.iloc[0]) if len(found) else ""

    def places(self) -> pd.DataFrame:
        """Sites that are the same place of each block as one row: ``pattern, kind, width, what, blocks``."""
        frame = self.to_frame().assign(pattern=self.pattern)
        first = frame.groupby("pattern", sort=False)[["site", "kind", "width", "block", "what"]].first()
        first["blocks"] = frame.groupby("pattern", sort=False)["block"].nunique()
        number = first["block"].astype(str)
        first["what"] = [
            w.replace(f"block {n}", "block K") if k > 1 else w
            for w, n, k in zip(first["what"], number, first["blocks"], strict=True)
        ]
        widths = frame.groupby("pattern", sort=False)["width"].agg(["min", "max"])
        first["what"] = [
            w if a == b else f"{w} (width {a} to {b} by block)"
            for w, a, b in zip(first["what"], widths["min"], widths["max"], strict=True)
        ]
        # What stands in one block only keeps its own address.
        first = first.reset_index()
        first["pattern"] = first["site"].where(first["blocks"] == 1, first["pattern"])
        return first.drop(columns="site")

    def __str__(self) -> str:
        places = self.places()
        shown = places[places["kind"] != "other"].head(KINDS_SHOWN)
        lines = [self.summary, *(f"  {k}: {v}"[:100] for k, v in list(self.facts.items())[:6])]
        lines += [
            f"  {p[:60]}  {int(w)}  {t[:60]}" for p, w, t in shown[["pattern", "width", "what"]].to_numpy()
        ]
        if len(places) > len(shown):
            lines.append(f"  ... {len(places) - len(shown)} more places: see to_frame() or text()")
        lines += [f"  suggested: {listed([f'{k} = {v}' for k, v in self._suggested_pairs()], 3)}"[:200]]
        return printable("\n".join(lines), lines=True)

    def _suggested_pairs(self) -> list[tuple[str, str]]:
        return list(zip(self.suggestions["key"], self.suggestions["value"], strict=True))

    def text(self, every: bool = False, width: int = 80) -> str:
        """The whole description for a terminal.

        Parameters
        ----------
        every : bool
            Whether every site has a line of its own, those that do nothing included; else one line per place of a block.
        width : int
            Columns of the terminal.
        """
        return printable("\n".join(self._lines(every, width)), lines=True)

    def _lines(self, every: bool, width: int) -> Iterator[str]:
        yield self.name
        yield from (_line(k, v, width) for k, v in self.facts.items())
        blocks = int(self.block.max(initial=-1)) + 1
        counted = f" (K is the number of a block, 0 to {blocks - 1})" if blocks > 1 and not every else ""
        yield f"\nSites, their width and what they are{counted}"
        table = self.to_frame().assign(pattern=self.sites) if every else self.places()
        if not every:
            # A network without blocks has few places, and none of them is known by its name.
            table = _under_one(table[(table["kind"] != "other") | (blocks == 0)])
        longest = min(max(map(len, table["pattern"]), default=0), width * 5 // 8)
        for row in table.to_dict("records"):
            wide = f"{row['width']}" if row["width"] else "?"
            head = f"  {row['pattern']:<{longest}}  {wide:>5}  "
            yield fill(
                row["what"], width, initial_indent=head, subsequent_indent=" " * min(len(head), width // 2)
            )
        if not every:
            yield "  (-v: every site, and a reason for every line below)"
        for title, facts in (("Tokenizer", self.tokenizer), ("A small study", self.cost)):
            if title == "A small study":
                yield from self._prompts(width)
                yield from self._suggested(every, width)
            if facts:
                yield f"\n{title}"
                yield from (_line(k, v, width) for k, v in facts.items())

    def _prompts(self, width: int) -> Iterator[str]:
        notes = self.meta.get("notes", ())
        if self.classes.empty and not notes:
            return
        title = self.meta.get("inputs_are", "Prompts" if len(self.classes) else "Inputs")
        yield "\n" + fill(
            f"{title}: {self.meta.get('prompts', '')}".rstrip(": "), width, subsequent_indent="  "
        )
        if len(self.classes):
            yield f"  {'token class':<14}{'tokens':>8}  example"
        for row in self.classes.to_dict("records"):
            many = f"{row['least']}" if row["least"] == row["most"] else f"{row['least']}-{row['most']}"
            yield f"  {row['token_class']:<14}{many:>8}  {row['example']}"[:width]
        yield from (fill(n, width, initial_indent="  ", subsequent_indent="  ") for n in notes)

    def _suggested(self, every: bool, width: int) -> Iterator[str]:
        if self.suggestions.empty:
            return
        yield "\nA study file could say (mrinterp init writes one)"
        for row in self.suggestions.to_dict("records"):
            yield f"  {row['key']} = {row['value']}"
            if every or row["key"] in TO_CONSIDER:
                yield fill(row["why"], width, initial_indent="      ", subsequent_indent="      ")


def _under_one(places: pd.DataFrame) -> pd.DataFrame:
    """Places that are the same thing on one line, those after the first by where their names part from its own."""
    rows: dict[tuple[str, int], dict[str, Any]] = {}
    for row in places.to_dict("records"):
        thing = (row["what"], row["width"])
        if thing not in rows:
            rows[thing] = {str(k): v for k, v in row.items()} | {
                "parent": row["pattern"].rpartition(".")[0] + "."
            }
        else:
            name, parent = row["pattern"], rows[thing]["parent"]
            own = "." + name.removeprefix(parent) if name.startswith(parent) else name
            rows[thing]["pattern"] += f", {own}"
    said = pd.DataFrame(list(rows.values()), columns=[*places.columns, "parent"])
    for words in (" of attention, block K", ", block K", " of block K", " in block K"):
        said["what"] = said["what"].str.replace(words, "", regex=False)
    return said


def _line(name: str, words: str, width: int) -> str:
    return fill(f"{name}: {words}", width, initial_indent="  ", subsequent_indent="      ")
