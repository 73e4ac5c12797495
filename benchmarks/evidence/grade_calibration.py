"""How often are graded claims true? Studies of networks whose causes are known, claim by claim.

    python benchmarks/evidence/grade_calibration.py [--studies 100] [--minutes 10] [--out benchmarks/results]

Each study is of a network drawn from a seed: 24 columns that move together in six groups, 24 units (the site, its features), and
an outcome. Five kinds of networks take turns: *smooth* (saturated units), *gate* (one cause acts only where another unit is on),
*steep* (thresholds, so that effects are rare and large), *crossed* (a unit whose sign hangs on another) and *wild* (every cause
acts only where another one is on, and saturates, so that effects differ much between inputs). Five units are causes, the last of
them near the region of practical equivalence; half of the others have effects too small to matter, half none, though all move
with causes. Studies have 160 families of three rows, and all that a study does by default.

The truth of a claim is its contrast, at the low and high values that the study states, on 6,000 rows of other families. A claim
graded A to D is *true* where that lies outside the region, with the sign of the estimate; Z where it lies inside, and swapping the
values of rows does no more than twice the region (root mean square over the root of 2). Of X, R, E and N the table says how many
have an effect. Seeds begin at 100: the first networks of an earlier version showed that an effect too small to matter, whose
interval excludes 0, was called refuted; that was mended, and they are not counted.

A study takes 10 to 40 s; what is finished is kept in ``grade_calibration.csv`` and not run again, so that the script can be
stopped and called again until enough claims are there. Writes ``grade_calibration.md`` every time.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from statsmodels.stats.proportion import proportion_confint

from mrinterp import Study
from mrinterp.results._claims import GRADES
from mrinterp.results._contrast_levels import NATURAL_SD

UNITS, GROUPS, CAUSES, FAMILIES, ROWS = 24, 6, 5, 160, 3
KINDS = ("smooth", "gate", "steep", "crossed", "wild")
FIRST = 100
SMALL = 0.012
"""Largest weight of units that are no causes."""
SIZES = (2.0, 1.0, 0.4, 0.1, 0.03)
"""Weights of the causes before a random factor of 1/2 to 2: the last ones are near the region of practical equivalence."""
WANTED = 2000
"""Claims that a calibration of grades asks for."""


class Network(torch.nn.Module):
    """Units (the site) and an outcome that a few of them reach."""

    def __init__(self, kind: str, seed: int) -> None:
        super().__init__()
        rng = np.random.default_rng(seed)
        turn = np.linalg.qr(rng.standard_normal((UNITS, UNITS)))[0]
        self.kind = kind
        mixed = torch.nn.Linear(UNITS, UNITS)
        mixed.weight.data = torch.from_numpy(0.3 * turn + 0.9 * np.eye(UNITS)).float()
        mixed.bias.data.zero_()
        self.units = torch.nn.Sequential(mixed, torch.nn.Tanh())
        self.causes = torch.from_numpy(rng.permutation(UNITS)[:CAUSES])
        sizes = np.array(SIZES) * 2.0 ** rng.uniform(-1, 1, CAUSES) * rng.choice([-1.0, 1.0], CAUSES)
        small = rng.uniform(-SMALL, SMALL, UNITS) * (rng.random(UNITS) < 0.5)
        small[self.causes.numpy()] = 0.0
        self.partners = torch.from_numpy(np.roll(self.causes.numpy(), 1))
        self.weights = torch.nn.Parameter(torch.from_numpy(sizes).float(), requires_grad=False)
        self.small = torch.nn.Parameter(torch.from_numpy(small).float(), requires_grad=False)

    def answer(self, units: torch.Tensor) -> torch.Tensor:
        """The outcome (N,) of units (N, K)."""
        read = units[..., self.causes]
        if self.kind == "steep":
            read = torch.sigmoid(12.0 * (read - 0.4))
        parts = self.weights * read
        if self.kind == "gate":
            gate = torch.sigmoid(6.0 * read[..., 1])
            parts = torch.cat([parts[..., :1] * gate[..., None], parts[..., 1:]], dim=-1)
        if self.kind == "crossed":
            parts = torch.cat(
                [parts[..., :3], (parts[..., 3] * 4 * torch.sign(read[..., 4]))[..., None]], dim=-1
            )
        if self.kind == "wild":
            parts = 2.0 * parts * torch.sigmoid(8.0 * units[..., self.partners])
        return (
            torch.tanh((2.0 if self.kind == "wild" else 0.6) * parts.sum(-1))
            + 0.2 * parts.sum(-1)
            + units @ self.small
        )

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        made = self.answer(self.units(rows))
        return torch.stack([made, -made], dim=-1)


def first_output(output: Any, mask: Any) -> Any:
    """The outcome of a run."""
    return output[:, 0]


def draw(rng: np.random.Generator, families: int) -> np.ndarray:
    """Rows (families * ROWS, UNITS): columns of a group move together, rows of a family are alike."""
    shared = rng.standard_normal((families, 1, GROUPS)) + rng.standard_normal((families, ROWS, GROUPS))
    own = rng.standard_normal((families, ROWS, UNITS))
    rows = 0.6 * np.repeat(shared / np.sqrt(2), UNITS // GROUPS, axis=2) + 0.8 * own
    return rows.reshape(-1, UNITS).astype(np.float32)


def truth(network: Network, study: Study, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Contrasts (K,) per natural sd on other families, at the values that the study states; what swapping values does."""
    levels = study.contrast_levels
    width = np.diag(study.basis.dictionary.write)
    center = study.basis.dictionary.center
    ends = [np.asarray(e).max(axis=1) for e in (levels.high, levels.low)]
    with torch.no_grad():
        clean = network.units(torch.from_numpy(rows))
        found, swapped = [], []
        other = torch.from_numpy(np.random.default_rng(0).permutation(len(rows)))
        before = network.answer(clean).double()
        for k in range(UNITS):
            made = []
            for end in ends:
                edited = clean.clone()
                edited[:, k] = float(center[k] + end[k] * width[k])
                made.append(float(network.answer(edited).double().mean()))
            found.append((made[0] - made[1]) / NATURAL_SD)
            edited = clean.clone()
            edited[:, k] = clean[other, k]
            change = network.answer(edited).double() - before
            swapped.append(float((change**2).mean().sqrt()) / np.sqrt(2))
    return np.array(found), np.array(swapped)


def graded(seed: int, folder: Path) -> pd.DataFrame:
    """The claims of one study with their truth."""
    kind = KINDS[seed % len(KINDS)]
    network, rng = Network(kind, seed).eval(), np.random.default_rng([seed, 1])
    study = Study.from_model(
        network,
        None,
        {"inputs": draw(rng, FAMILIES), "family": np.repeat(np.arange(FAMILIES), ROWS)},
        site="units",
        features=list(range(UNITS)),
        outcome=first_output,
        out=folder / str(seed),
        seed=seed,
    )
    claims = study.claims.claims
    true, swapped = truth(network, study, draw(np.random.default_rng([seed, 2]), 2000))
    place = [int(name.rsplit(":", 1)[-1].lstrip("c")) for name in claims["feature"]]
    columns = ["feature", "grade", "points", "effect", "ci_lower", "ci_upper", "rope", "size", "verdict"]
    return claims[columns].assign(truth=true[place], swapped=swapped[place], seed=seed, kind=kind)


def table(found: pd.DataFrame) -> pd.DataFrame:
    """By grade: claims, those that have an effect, share true with its Wilson interval."""
    outside = found["truth"].abs() > found["rope"]
    same = np.sign(found["truth"]) == np.sign(found["effect"])
    right = np.where(
        found["grade"] == "Z", ~outside & (found["swapped"] <= 2 * found["rope"]), outside & same
    )
    ratio = found["truth"] / found["effect"]
    rows = []
    for letter, word in GRADES.items():
        here = (found["grade"] == letter).to_numpy()
        n, true = int(here.sum()), int(right[here].sum())
        scored = letter in "ABCDZ"
        lower, upper = proportion_confint(true, n, method="wilson") if n and scored else (np.nan, np.nan)
        rows.append(
            {
                "grade": f"{letter} {word}",
                "claims": n,
                "with an effect": int(outside[here].sum()),
                "share true": true / n if n and scored else np.nan,
                "lower": lower,
                "upper": upper,
                "size within half to twice": float(ratio[here].between(0.5, 2.0).mean())
                if n and letter in "ABCD"
                else np.nan,
            }
        )
    return pd.DataFrame(rows)


def page(found: pd.DataFrame) -> str:
    """The table as Markdown, with how few claims it holds."""
    shown = table(found)
    strong = int(shown["claims"][:2].sum())
    outside = float((found["truth"].abs() > found["rope"]).mean())
    lines = [
        "# Grades against the truth",
        "",
        f"`python benchmarks/evidence/grade_calibration.py`: {len(found)} claims of {found['seed'].nunique()} studies"
        f" (asked for: {WANTED}), {strong} of them graded A or B (asked for: 300); {outside:.0%} of the features have an effect",
        "outside the region of practical equivalence. 95% intervals are Wilson's, claims taken as independent: those of one study",
        "share errors, so that the intervals are too narrow. One family of worlds: tables of numbers through a small network.",
        "",
        "| grade | claims | with an effect | share true (95% interval) | size within half to twice |",
        "|---|---|---|---|---|",
    ]
    for r in shown.to_dict("records"):
        share = (
            f"{r['share true']:.3f} ({r['lower']:.3f} to {r['upper']:.3f})"
            if r["share true"] == r["share true"]
            else ""
        )
        size = (
            f"{r['size within half to twice']:.2f}"
            if r["size within half to twice"] == r["size within half to twice"]
            else ""
        )
        lines.append(f"| {r['grade']} | {r['claims']} | {r['with an effect']} | {share} | {size} |")
    return "\n".join([*lines, ""])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--studies", type=int, default=100)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    asked = parser.parse_args()
    torch.set_num_threads(1)
    kept, begun = asked.out / "grade_calibration.csv", time.monotonic()
    found = pd.read_csv(kept) if kept.exists() else pd.DataFrame()
    done = set(found["seed"]) if len(found) else set()
    for seed in [s for s in range(FIRST, FIRST + asked.studies) if s not in done]:
        if time.monotonic() - begun > 60 * asked.minutes:
            break
        with tempfile.TemporaryDirectory() as folder:
            found = pd.concat([found, graded(seed, Path(folder))], ignore_index=True)
        found.to_csv(kept, index=False, float_format="%.6g")
        (asked.out / "grade_calibration.md").write_text(page(pd.read_csv(kept)), encoding="utf-8")
        print(f"study {seed}: {time.monotonic() - begun:.0f} s", flush=True)
    print(page(pd.read_csv(kept)))


if __name__ == "__main__":
    main()
