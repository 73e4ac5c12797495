"""What was done in the words of a methods section, and the references of exactly the methods used."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

import numpy as np

from mrinterp.core.design import SPLITS
from mrinterp.report.claims import resting, ropes
from mrinterp.report.finished import FinishedStudy
from mrinterp.report.order import order_in_words

__all__ = ["ALWAYS", "bibtex", "bibtex_of", "listed_references", "methods_paragraph", "references"]

ALWAYS = (
    "Benjamini & Hochberg 1995, 10.1111/j.2517-6161.1995.tb02031.x",
    "Fieller 1954, 10.1111/j.2517-6161.1954.tb00159.x",
    "Skrivankova et al. 2021, 10.1001/jama.2021.18236",
)
"""Of what every study uses beside its estimators: q of the grades, the interval of a ratio, the list of items of reports."""

_KNOWN = {
    "10.1126/science.adi6000": (
        "article", "Angelopoulos, Anastasios N. and Bates, Stephen and Fannjiang, Clara and Jordan, Michael I. and Zrnic, Tijana",
        "Prediction-powered inference", "Science", "2023",
    ),
    "10.1002/gepi.21758": (
        "article", "Burgess, Stephen and Butterworth, Adam and Thompson, Simon G.",
        "Mendelian randomization analysis with multiple genetic variants using summarized data", "Genetic Epidemiology", "2013",
    ),
    "10.1038/s41467-020-17117-4": (
        "article", "Brumpton, Ben and others",
        "Avoiding dynastic, assortative mating, and population stratification biases in Mendelian randomization through"
        " within-family analyses", "Nature Communications", "2020",
    ),
    "10.1080/01621459.1995.10476535": (
        "article", "Angrist, Joshua D. and Imbens, Guido W.",
        "Two-stage least squares estimation of average causal effects in models with variable treatment intensity",
        "Journal of the American Statistical Association", "1995",
    ),
    "10.1016/j.cct.2006.04.004": (
        "article", "DerSimonian, Rebecca and Kacker, Raghu",
        "Random-effects model for meta-analysis of clinical trials: An update", "Contemporary Clinical Trials", "2007",
    ),
    "10.1111/j.2517-6161.1995.tb02031.x": (
        "article", "Benjamini, Yoav and Hochberg, Yosef",
        "Controlling the false discovery rate: A practical and powerful approach to multiple testing",
        "Journal of the Royal Statistical Society: Series B", "1995",
    ),
    "10.1111/j.2517-6161.1954.tb00159.x": (
        "article", "Fieller, E. C.", "Some problems in interval estimation",
        "Journal of the Royal Statistical Society: Series B", "1954",
    ),
    "10.1001/jama.2021.18236": (
        "article", "Skrivankova, Veronika W. and others",
        "Strengthening the reporting of observational studies in epidemiology using Mendelian randomization: The STROBE-MR"
        " statement", "JAMA", "2021",
    ),
    "arXiv:1312.6034": (
        "article", "Simonyan, Karen and Vedaldi, Andrea and Zisserman, Andrew",
        "Deep inside convolutional networks: Visualising image classification models and saliency maps",
        "arXiv:1312.6034", "2013",
    ),
    "Wooldridge 2010": (
        "book", "Wooldridge, Jeffrey M.", "Econometric Analysis of Cross Section and Panel Data", "MIT Press", "2010",
    ),
}  # fmt: skip
"""Entries by what a reference is known by; others are printed as they are cited."""


def references(study: FinishedStudy) -> list[str]:
    """References of the methods that gave this study a number, each once."""
    used = [e.reference for e in study.estimates.values() if np.isfinite(e.beta).any()]
    return listed_references([*used, *ALWAYS])


def listed_references(texts: Sequence[str]) -> list[str]:
    """References one by one, each once."""
    parts = [_bare(part) for text in texts for part in text.split(";")]
    return [p for p in dict.fromkeys(parts) if p]


def _bare(part: str) -> str:
    """A reference without the words that say what it is for."""
    return re.sub(r"^[a-z][\w\s-]*(?:MR)?: ", "", part.strip())


def bibtex(study: FinishedStudy) -> str:
    """The same as BibTeX."""
    return bibtex_of(references(study))


def bibtex_of(texts: Sequence[str]) -> str:
    """References as BibTeX: those that are known by title, others as they are cited."""
    entries, keys = [], set()
    for text in texts:
        identifier = next((known for known in _KNOWN if known in text), "")
        key = _key(text)
        while key in keys:
            key += "x"
        keys.add(key)
        entries.append(_entry(key, identifier, text))
    return "\n\n".join(entries) + "\n"


def _key(text: str) -> str:
    found = re.match(r"([^\W\d_]+).*?((?:19|20)\d\d)", text)
    words = f"{found[1]}{found[2]}" if found else text[:20]
    plain = unicodedata.normalize("NFKD", words).encode("ascii", "ignore").decode()
    return re.sub(r"\W", "", plain).lower() or "reference"


def _entry(key: str, identifier: str, text: str) -> str:
    if not identifier:
        return _cited(key, text)
    kind, author, title, place, year = _KNOWN[identifier]
    fields = {
        "author": author,
        "title": f"{{{title}}}",
        "publisher" if kind == "book" else "journal": place,
        "year": year,
    }
    fields |= {"doi": identifier} if identifier.startswith("10.") else {}
    return f"@{kind}{{{key},\n" + ",\n".join(f"  {k} = {{{v}}}" for k, v in fields.items()) + "\n}"


_CITATION = re.compile(
    r"^(?P<authors>[^\d]+?),? (?P<year>(?:19|20)\d\d)[a-z]?,? ?(?P<journal>[^\d].*?)?,? ?(?:doi:)?(?P<doi>10\.\d{4,}/\S+)$"
)
"""Authors, year, journal and DOI, as estimators cite."""


def _cited(key: str, text: str) -> str:
    """An entry made of a citation: its parts where it has them, else the whole as a note."""
    found = _CITATION.match(text)
    if found is None:
        return f"@misc{{{key},\n  note = {{{_tex(text)}}}\n}}"
    last = re.sub(r"\s+et al\.?$", ", others", found["authors"])
    names = [n.strip() for n in re.split(r",|&", last) if n.strip()]
    fields = {
        "author": " and ".join(n if n == "others" else f"{{{_tex(n)}}}" for n in names),
        "journal": _tex(found["journal"] or ""),
        "year": found["year"],
        "doi": found["doi"].rstrip(".,"),
        "note": _tex(text),
    }
    return f"@article{{{key},\n" + ",\n".join(f"  {k} = {{{v}}}" for k, v in fields.items() if v) + "\n}"


def _tex(text: str) -> str:
    """Words of others as TeX text, braces balanced."""
    return re.sub(r"([#$%&_{}~^\\])", lambda m: {"\\": r"\textbackslash "}.get(m[1], "\\" + m[1]), text)


def methods_paragraph(study: FinishedStudy) -> str:
    """What was done, in a paragraph that a methods section can begin with."""
    design, header = study.design, study.header
    families = {split: design.families(split) for split in SPLITS}
    counts = ", ".join(f"{n} {split}" for split, n in families.items())
    tested = study.results
    features, outcomes = tested["feature"].nunique(), list(ropes(study))
    region = "; ".join(f"{r:.3g} for {o}" for o, r in ropes(study).items())
    labels = list(dict.fromkeys(e.label for e in study.estimates.values() if np.isfinite(e.beta).any()))
    rules = study.claims.meta["rules"]
    return " ".join(
        [
            f"Effects of {features} features on {len(outcomes)} {'outcome' if len(outcomes) == 1 else 'outcomes'}"
            f" ({', '.join(outcomes)}) were estimated with mrinterp {header['provenance']['versions'].get('mrinterp', '')}"
            f" (seed {header['plan'].get('seed', 0)}).",
            f"Families of inputs were divided at random ({counts}); errors are clustered by family.",
            resting(study).replace("They rest", "Claims rest", 1),
            order_in_words(study),
            f"Estimates, those that claims rest on among them: {'; '.join(labels)}.",
            f"The region of practical equivalence is {header['plan']['estimation']['rope']:g} sd of the outcome (half width {region}).",
            f"Claims were graded by the rules {rules} of mrinterp; {len(tested)} effects were tested, and q is Benjamini and"
            " Hochberg's over all of them.",
        ]
    )
