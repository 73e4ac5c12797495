"""What features are: read on clean inputs, held against the tokens at which they are read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import csr_array

from mrinterp.core.checks import checked_count
from mrinterp.knockouts._bench import Bench
from mrinterp.knockouts._clean_values import clean_token_values
from mrinterp.knockouts._shown_inputs import pictures_of, shown_row
from mrinterp.results._feature_profiles import SHARES, FeatureProfiles

__all__ = ["feature_profiles"]

Array = NDArray[np.float64]

FEWEST_FAMILIES = 5
"""Families in which a token occurs at least, to be told as one that a feature responds to."""
TOLD = 2.0
"""Least |z| of a token that is told."""
TOKENS = 8
"""Tokens told of every feature."""


def feature_profiles(
    bench: Bench, tokenizer: Any = None, most: int = 8, columns: Mapping[int, str] | None = None
) -> FeatureProfiles:
    """The inputs that move every feature most, and the tokens and token classes that it responds to.

    Parameters
    ----------
    bench : Bench
        Features on clean inputs.
    tokenizer : Hugging Face tokenizer, optional
        Writes tokens as text; without one they are their numbers, or places where inputs are no tokens.
    most : int
        Inputs told at each end, one a family.
    columns : mapping of int to str, optional
        Of rows of a table: names of columns by their place; others are called by it.

    Returns
    -------
    FeatureProfiles

    Raises
    ------
    InputError
        For no inputs to tell.

    Notes
    -----
    Of images ``meta["images"]`` holds small pictures by input; a row of a table is told by the values furthest from their means.
    One forward pass over the inputs. Where features are read as a mean over tokens, each token is looked at by itself.

    Examples
    --------
    >>> import torch
    >>> from mrinterp.adapters import ModelInputs, TorchAdapter
    >>> from mrinterp.features import Units
    >>> from mrinterp.knockouts import Bench, feature_profiles
    >>> from mrinterp.outcomes import CallableOutcome
    >>> net = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.ReLU(), torch.nn.Linear(3, 1)).eval()
    >>> y = CallableOutcome("y", lambda output, mask: output[:, 0])
    >>> inputs = ModelInputs({"input": torch.eye(2).repeat(4, 1)})
    >>> bench = Bench(TorchAdapter(net), "1", Units([0, 2], 3), inputs, y)
    >>> feature_profiles(bench).inputs["end"].value_counts().to_dict()
    {'high': 16, 'low': 16}
    """
    most = checked_count(most, "most")
    values = clean_token_values(bench, np.arange(bench.features))
    words, shown = _words(bench, tokenizer, values.shape[2], columns)
    told = _Told(bench, values, words, shown)
    F = bench.features
    flat = values.reshape(F, -1)
    known = np.isfinite(flat)
    count = np.maximum(known.sum(axis=1), 1)
    mean = np.where(known, flat, 0.0).sum(axis=1) / count
    sd = np.sqrt((np.where(known, flat - mean[:, None], 0.0) ** 2).sum(axis=1) / count)
    inputs = told.inputs(most)
    images = pictures_of(bench.inputs, inputs["input"])
    return FeatureProfiles(
        features=tuple(bench.view.names),
        mean=mean,
        sd=sd,
        share_active=(known & (flat != 0)).sum(axis=1) / count,
        inputs=inputs,
        tokens=told.tokens(mean, sd),
        classes=told.classes(mean, sd),
        quantiles=_quantiles(flat),
        meta={"site": bench.site, "inputs": bench.prompts, "families": len(np.unique(bench.family))}
        | ({"images": images} if images else {}),
    )


def _quantiles(flat: Array) -> Array:
    """Quantiles (F, Q) of every feature's values (F, N); nan where it has none."""
    found = np.full((len(flat), len(SHARES)), np.nan)
    some = np.isfinite(flat).any(axis=1)
    found[some] = np.nanquantile(flat[some], SHARES, axis=1).T
    return found


class _Told:
    """Values (F, P, T) of features at tokens, and the words for these."""

    def __init__(self, bench: Bench, values: Array, words: NDArray[Any], shown: Any) -> None:
        self.names, self.values, self.words, self.shown = tuple(bench.view.names), values, words, shown
        self.family = np.unique(np.asarray(bench.family).astype(str), return_inverse=True)
        classes = bench.inputs.classes
        names = (*bench.inputs.class_names, "")  # -1, padding or none, takes the last
        codes = np.full(words.shape, -1) if classes is None else classes.cpu().numpy()
        self.token_class = np.array(names, dtype=object)[codes]

    def inputs(self, most: int) -> pd.DataFrame:
        """Inputs with the highest and lowest value of every feature, the best of each family."""
        F, P, T = self.values.shape
        rows = []
        for end, sign in (("high", 1.0), ("low", -1.0)):
            signed = np.where(np.isfinite(self.values), sign * self.values, -np.inf)
            token = signed.argmax(axis=2)
            best = np.take_along_axis(signed, token[..., None], axis=2)[..., 0]
            for k, name in enumerate(self.names):
                order = np.argsort(-best[k], kind="stable")
                order = order[np.isfinite(best[k][order])]
                _, first = np.unique(self.family[1][order], return_index=True)
                for rank, p in enumerate(order[np.sort(first)][:most]):
                    t = int(token[k, p])
                    row = {"feature": name, "end": end, "rank": rank + 1, "input": int(p)}
                    row |= {"family": self.family[0][self.family[1][p]], "value": sign * best[k, p]}
                    row |= {"token": str(self.words[p, t]), "token_class": self.token_class[p, t]}
                    rows.append(row | {"text": self.shown(int(p), t)})
        columns = ["feature", "end", "rank", "input", "family", "value", "token", "token_class", "text"]
        return pd.DataFrame(rows, columns=columns)

    def tokens(self, mean: Array, sd: Array) -> pd.DataFrame:
        """Tokens at which a feature differs from its mean, largest z first."""
        found = self._grouped(self.words, mean, sd)
        found = found[(found["families"] >= FEWEST_FAMILIES) & (found["z"].abs() >= TOLD)]
        order = np.lexsort((-found["difference"].abs(), -found["z"].abs().round(6), found["place"]))
        kept = found.iloc[order].groupby("place", sort=True).head(TOKENS)
        kept = kept.rename(columns={"group": "token"})
        return kept[["feature", "token", "difference", "count", "families", "z"]].reset_index(drop=True)

    def classes(self, mean: Array, sd: Array) -> pd.DataFrame:
        """Mean, sd and share of activity by token class."""
        found = self._grouped(self.token_class, mean, sd).rename(columns={"group": "token_class"})
        columns = ["feature", "token_class", "mean", "sd", "share_active", "count", "difference"]
        return found[found["count"] > 0][columns].reset_index(drop=True)

    def _grouped(self, groups: NDArray[Any], mean: Array, sd: Array) -> pd.DataFrame:
        """One row per feature and group of tokens; the error of a mean is that of its families' means."""
        F, P, T = self.values.shape
        names, code = np.unique(groups.reshape(-1).astype(str), return_inverse=True)
        flat = self.values.reshape(F, -1).T
        known = np.isfinite(flat)
        here, C = np.repeat(self.family[1], T), len(self.family[0])
        cell, place = np.unique(code * C + here, return_inverse=True)
        sums = csr_array((np.ones(P * T), (place, np.arange(P * T))), shape=(len(cell), P * T))
        off = np.where(known, flat - mean, 0.0)
        number, total = sums @ known.astype(float), sums @ off
        square, active = sums @ off**2, sums @ (known & (flat != 0)).astype(float)
        by_group = csr_array(
            (np.ones(len(cell)), (cell // C, np.arange(len(cell)))), shape=(len(names), len(cell))
        )
        n, s, q, a = (by_group @ x for x in (number, total, square, active))
        families = by_group @ (number > 0).astype(float)
        many = np.maximum(n, 1.0)
        differs = s / many
        gap = total - number * differs[cell // C]
        with np.errstate(divide="ignore", invalid="ignore"):
            error = np.sqrt((by_group @ gap**2) * families / np.maximum(families - 1, 1)) / many
            # A token that has one value everywhere has no error: a million stands for as sure as can be.
            z = np.where(differs != 0, differs / np.maximum(error, 1e-6 * np.abs(differs)), 0.0)
            relative = np.where(sd > 0, differs / sd, 0.0)
        G = len(names)
        return pd.DataFrame(
            {
                "place": np.repeat(np.arange(F), G),
                "feature": np.repeat(np.array(self.names, dtype=object), G),
                "group": np.tile(names, F),
                "mean": (mean + differs).T.ravel(),
                "sd": np.sqrt(np.maximum(q / many - differs**2, 0.0)).T.ravel(),
                "share_active": (a / many).T.ravel(),
                "difference": relative.T.ravel(),
                "count": n.T.ravel().astype(int),
                "families": families.T.ravel().astype(int),
                "z": z.T.ravel(),
            }
        )


def _words(
    bench: Bench, tokenizer: Any, T: int, columns: Mapping[int, str] | None
) -> tuple[NDArray[Any], Any]:
    """Words (P, T) for tokens, and what writes an input with one token marked."""
    ids = bench.inputs.tensors.get("input_ids")
    if ids is None or ids.ndim != 2 or ids.shape[1] != T:
        places = np.tile(np.arange(T).astype(str), (bench.prompts, 1)).astype(object)
        row = shown_row(bench.inputs, columns) if T == 1 else None
        if row is not None:
            return places, lambda p, t: f"input {p}: {row(p)}"
        return places, lambda p, t: f"input {p}, place {t}" if T > 1 else f"input {p}"
    numbers = ids.cpu().numpy()
    if tokenizer is None:
        return numbers.astype(str).astype(object), lambda p, t: _marked([str(i) for i in numbers[p]], t, " ")
    known = {int(i): str(tokenizer.decode([int(i)])) for i in np.unique(numbers)}
    words = np.array(
        [[known[int(i)].strip() or repr(known[int(i)]) for i in row] for row in numbers], dtype=object
    )
    mask = bench.inputs.mask_or_ones.bool().cpu().numpy()

    def shown(p: int, t: int) -> str:
        own = [int(i) for i, here in zip(numbers[p], mask[p], strict=True) if here]
        at = int(mask[p, :t].sum())
        parts = (tokenizer.decode(part) for part in (own[:at], own[at : at + 1], own[at + 1 :]))
        before, token, after = parts
        return f"{before} [[{token}]] {after}".strip()

    return words, shown


def _marked(words: Sequence[str], t: int, between: str) -> str:
    return between.join(f"[[{w}]]" if k == t else w for k, w in enumerate(words))
