"""The board of the truth benchmark in words: tables for a text page, defeats of the default, when not to trust what."""

from __future__ import annotations

from collections import Counter

from mrinterp.report.numbers import plain
from mrinterp.results._leaderboard import ALL, SCORES, BoardCell, Leaderboard

__all__ = ["board_markdown", "cell_words", "defeats", "log_words", "missing", "when_not_to_trust"]

SHOWN = (
    "auroc",
    "auroc_all",
    "auprc",
    "fdr",
    "power",
    "recall",
    "impostor_called",
    "cause_called_negligible",
)
SIZES = (
    "sign",
    "slope",
    "rmse",
    "half_width",
    "coverage",
    "coverage_matter",
    "set",
    "source",
    "jaccard",
    "abstained",
    "passes",
)
BY_FAMILY = ("auroc", "fdr", "power", "rmse", "coverage_matter", "jaccard", "passes")
COMPARED = {
    "auroc": 1,
    "auroc_all": 1,
    "power": 1,
    "fdr": -1,
    "impostor_called": -1,
    "rmse": -1,
    "jaccard": 1,
}
"""Scores on which the default can be beaten, and whether more is better."""

FAILS = {
    "auroc": ("below", 0.8),
    "auroc_all": ("below", 0.8),
    "fdr": ("above", 0.1),
    "impostor_called": ("above", 0.1),
    "power": ("below", 0.8),
    "cause_called_negligible": ("above", 0.05),
    "coverage_matter": ("below", 0.85),
}
"""A mean over a family's worlds from which a method counts as failing there: wider than the bars that it is to meet (AUROC
.95, FDR .05, coverage .95), since a few worlds cannot tell .94 from .95."""

DEFAULT, CEILING = "default", "exhaustive"


def cell_words(cell: BoardCell) -> str:
    """A number with its interval, a dash where there is none."""
    if cell.why:
        return plain(float("nan"))
    spec = ",.0f" if cell.score == "passes" else ".2f" if SCORES[cell.score].share else ".3g"
    found = plain(cell.value, spec)
    return (
        found
        if cell.lower != cell.lower
        else f"{found} ({plain(cell.lower, spec)} to {plain(cell.upper, spec)})"
    )


def missing(board: Leaderboard) -> list[dict[str, str]]:
    """Of every method: worlds answered, and why not the others, and which scores it lacks everywhere."""
    rows = []
    for method in board.order:
        own = board.scores[(board.scores["family"] == ALL) & (board.scores["method"] == method)]
        lacking = {str(r.score): str(r.why) for r in own.itertuples() if r.why}
        answered = own[own["score"] == "abstained"].iloc[0]
        reasons = Counter(lacking.values())
        whole = " ".join(f"{why}." for why in reasons) if not answered["worlds"] else ""
        if answered["worlds"]:
            named = [
                f"no {', '.join(SCORES[s].title for s, w in lacking.items() if w == why)}: {why}"
                for why in reasons
            ]
            named += [w for w in _unanswered(board, method) if w]
            whole = "; ".join(named)
        rows.append(
            {
                "method": method,
                "label": str(answered["label"]),
                "worlds": str(answered["worlds"]),
                "drawn": str(answered["drawn"]),
                "why": whole,
            }
        )
    return rows


def _unanswered(board: Leaderboard, method: str) -> list[str]:
    """Why a method does not apply to whole families."""
    own = board.scores[(board.scores["method"] == method) & (board.scores["score"] == "abstained")]
    found = own[(own["family"] != ALL) & (own["worlds"] == 0)]
    counted = Counter(str(w) for w in found["why"])
    return [f"{n} {'family' if n == 1 else 'families'}: {why}" for why, n in counted.most_common()]


def defeats(board: Leaderboard) -> list[str]:
    """Where another method is better than the default: sentences, those beyond the interval of the difference first."""
    grouped: dict[tuple[bool, str, str], list[tuple[float, str]]] = {}
    for row in board.paired.to_dict("records") if DEFAULT in board.order else []:
        family, method, score = (str(row[k]) for k in ("family", "method", "score"))
        sign = COMPARED.get(score, 0)
        better, ends = (
            sign * float(row["difference"]),
            (sign * float(row["lower"]), sign * float(row["upper"])),
        )
        if method == CEILING or family == ALL or not better > 1e-9:
            continue
        mine = cell_words(board.cell(family, DEFAULT, score))
        key = (not min(ends) > 0, family, f"{SCORES[score].title}, default {mine}")
        grouped.setdefault(key, []).append(
            (-better, f"`{method}` {cell_words(board.cell(family, method, score))}")
        )
    said = []
    for (unsure, family, what), found in sorted(grouped.items()):
        words = [w for _, w in sorted(found)]
        more = f" and {len(words) - 4} more" if len(words) > 4 else ""
        said.append(
            f"{'(within the error) ' if unsure else ''}{family}, {what}: {', '.join(words[:4])}{more}"
        )
    return said


def log_words(board: Leaderboard) -> list[str]:
    """Every run of the evaluation in a line; one that says so where there was none."""
    if not board.log:
        return ["The evaluation families have not been run for this board."]
    return [
        f"{e['when']}: {len(e['methods'])} methods on {len(e['families'])} families, {e['seeds']} seeds, size {e['size']},"
        f" commitment {e['commitment'][:12]}"
        for e in board.log
    ]


def _table(head: list[str], rows: list[list[str]]) -> list[str]:
    line = "|" + "---|" * len(head)
    return [f"| {' | '.join(head)} |", line, *(f"| {' | '.join(r)} |" for r in rows), ""]


def _of_methods(board: Leaderboard, family: str, scores: tuple[str, ...]) -> list[str]:
    rows = [[f"`{m}`", *(cell_words(board.cell(family, m, s)) for s in scores)] for m in board.order]
    rows = [r for r in rows if set(r[1:]) != {plain(float("nan"))}]
    return _table(["method", *(SCORES[s].title for s in scores)], rows)


def _worlds(count: int) -> str:
    return f"{count} world{'' if count == 1 else 's'}"


def board_markdown(board: Leaderboard, command: str) -> str:
    """The board as a text page."""
    families = len(board.families)
    lines = [
        "# Which method finds the causes",
        "",
        f"`{command}`: {families} {'family' if families == 1 else 'families'} of worlds whose causes are known, {_worlds(board.seeds)} each ({board.size} size). Means over",
        "worlds with 95% intervals over worlds in brackets. Sorted by AUROC over all worlds, chance (.5) where a method does not",
        "apply; `exhaustive` knocks out every feature on every prompt: the ceiling, not ranked. Every method is scored for rank",
        "against the causal label, for size against the truth of its own estimand. What each score is stands below.",
        "",
        "## Who is called a cause",
        "",
        *_of_methods(board, ALL, SHOWN),
        "## Sizes, sets, re-runs, cost",
        "",
        *_of_methods(board, ALL, SIZES),
        "## Where the default is beaten",
        "",
        *([f"- {d}" for d in defeats(board)] or ["Nowhere on these worlds, or it was not run."]),
        "",
        "## Empty cells",
        "",
        *_table(
            ["method", "what it is", "worlds answered", "why not"],
            [
                [f"`{r['method']}`", r["label"], f"{r['worlds']} of {r['drawn']}", r["why"]]
                for r in missing(board)
            ],
        ),
        "## Family by family",
        "",
    ]
    for row in board.families.to_dict("records"):
        lines += [
            f"### {row['family']}",
            "",
            str(row["about"]),
            "",
            *_of_methods(board, row["family"], BY_FAMILY),
        ]
    lines += ["## What the scores are", "", *(f"- **{s.title}**: {s.about}." for s in SCORES.values()), ""]
    source = board.meta.get("source", "")
    lines += [f"Made with the source whose digest begins with `{source[:12]}`.", ""] if source else []
    return "\n".join([*lines, "## Evaluation", "", *log_words(board), ""])


def when_not_to_trust(board: Leaderboard, source: str) -> str:
    """Method by method, the families of worlds in which it fails, and by how much."""
    about = dict(zip(board.families["family"], board.families["about"], strict=True))
    lines = [
        "# When not to trust this",
        "",
        f"<!-- Written by `python docs/make_when_not_to_trust.py` from {source}: run the benchmark anew to change it. -->",
        "",
        f"Which method fails in which family of worlds, and by how much: from [the board]({source}) of {_worlds(board.seeds)} a",
        "family. A method fails where a mean over a family's worlds lies beyond one of these:",
        "",
        *(f"- {SCORES[s].title} {word} {limit:g}: {SCORES[s].about}" for s, (word, limit) in FAILS.items()),
        "",
        "Intervals (95%, over worlds) are wide where worlds are few: a failure here is a reason to look, an absence no promise.",
        "",
    ]
    for method in board.order:
        answered = [f for f in about if not board.cell(f, method, "abstained").why]
        failing = {f: _failures(board, f, method) for f in answered}
        failing = {f: words for f, words in failing.items() if words}
        label = str(board.scores.loc[board.scores["method"] == method, "label"].iloc[0])
        lines += [f"## {label} (`{method}`)", ""]
        if not answered:
            lines += [f"Answers in no family: {board.cell(ALL, method, 'abstained').why}.", ""]
            continue
        lines += [f"Fails in {len(failing)} of {len(answered)} families in which it answers.", ""]
        lines += [f"- **{f}**: {'; '.join(words)}. {about[f]}" for f, words in failing.items()]
        lines += [""] if failing else []
    return "\n".join(lines)


def _failures(board: Leaderboard, family: str, method: str) -> list[str]:
    found = []
    for score, (word, limit) in FAILS.items():
        cell = board.cell(family, method, score)
        if not cell.why and (cell.value < limit if word == "below" else cell.value > limit):
            found.append(f"{SCORES[score].title} {cell_words(cell)}")
    return found
