"""How often are graded claims true? Studies of networks whose causes are known, claim by claim.

    python benchmarks/evidence/grade_calibration.py [--seeds 1000 1020] [--families layers pairs] [--minutes 10] [--once]
        [--keep FOLDER] [--out benchmarks/results]

For every seed, one network of each family of `grade_worlds` (what they are, and how they tempt, stands there), with four outcomes
whose causes differ, and of it a study of 165 families of three inputs each, with all that a study does by default, and besides:
features set to zero, and to four of their quantiles (doses), so that the grades that ask for these can be reached. Then the same
study at another seed and half the noise, as `mrinterp rerun --differently` makes it, which the grades of the first one read.
``--once`` leaves out all that goes beyond the default: these claims can be B at most; no network of the stored table was run so.

The truth of a claim is its contrast, at the low and high values that the study states, on inputs of other families, computed
from the network's formula without the code that runs knockouts; of a claim that rests on instruments, the slope there. A claim
graded A to D is *true* where the truth lies outside the region of practical equivalence, with the sign of the estimate; Z where it
lies inside, and (of a contrast) swapping values between inputs does no more than twice the region (root mean square over the root
of 2). Of X, R, E and N the table says how many have an effect.

The rules were changed after looking at networks of seed 7, which are not counted: replication on other families (E7) asks since
then for half to twice the size, or no difference beyond errors, and no longer for the latter alone. The truth
of seeds 1000 and 1001 was looked at after that; seeds 1002 and 1003 (and *layers* 1004) came when MIG-3 stood. The stored table is graded by MIG-4,
which differs from MIG-3 in colocalization (E5) only; that applies to none of these claims: their perturbations are noise, resampled
rows and covered patches, and no place has three alleles.

A study takes 10 to 20 s of one processor; run folders stay in ``--keep`` and are not run again, so that the script can be stopped
and called again: what is missing is run (for at most ``--minutes`` of processor time), then all that is there is graded.
Writes ``grade_calibration.csv`` and ``grade_calibration.md``, and what every report prints beside a grade (``mrinterp/evidence/measured.json``).
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from statsmodels.stats.proportion import proportion_confint

sys.path.insert(0, str(Path(__file__).parent))  # its worlds lie beside it

from grade_worlds import ROWS, WORLDS, Edited, World

from mrinterp import Study
from mrinterp.evidence._rules import DEFAULT, MEASURED
from mrinterp.results._claims import GRADES
from mrinterp.results._contrast_levels import NATURAL_SD
from mrinterp.study._again import keep_other_run, other_plan

FAMILIES = 165
TRUTH_FAMILIES = {"images": 300}
"""Families on which the truth is computed; of tables and tokens 1,500."""
DOSES = (0.1, 0.35, 0.65, 0.9)
"""Quantiles of a feature's clean values that all inputs get, one after the other."""
KINDS = [
    "resample",
    "mean",
    "zero",
    *({"kind": "clamp", "name": f"dose{q:.2f}", "quantile": q} for q in DOSES),
]
WANTED, WANTED_STRONG, SHARE = 2000, 300, 0.98
"""Claims, claims graded A or B, and share true of these, that a calibration asks for."""
COLUMNS = [
    "feature",
    "outcome",
    "grade",
    "points",
    "effect",
    "ci_lower",
    "ci_upper",
    "rope",
    "size",
    "verdict",
    "estimand",
]
SCORED = "ABCDZ"


def first(output: Any, mask: Any) -> Any:
    """An outcome of a run."""
    return output[:, 0]


def second(output: Any, mask: Any) -> Any:
    """Another one."""
    return output[:, 1]


def third(output: Any, mask: Any) -> Any:
    """Another one."""
    return output[:, 2]


def fourth(output: Any, mask: Any) -> Any:
    """Another one."""
    return output[:, 3]


READ = [first, second, third, fourth]


def world_of(name: str, seed: int) -> World:
    return WORLDS[name](seed).eval()


def studied(name: str, seed: int, folder: Path, once: bool) -> Study:
    """The study of one network, not begun."""
    world, rng = world_of(name, seed), np.random.default_rng([seed, 1])
    inputs = {"inputs": world.draw(rng, FAMILIES), "family": np.repeat(np.arange(FAMILIES), ROWS)}
    return Study.from_model(
        world,
        None,
        inputs,
        site="units",
        features=world.chosen(),
        outcome=READ,
        out=folder / "run",
        seed=seed,
        estimation={"rests_on": world.rests_on},
        **({} if once else {"knockouts": {"kinds": KINDS}}),
    )


def carried_out(name: str, seed: int, folder: Path, once: bool) -> None:
    """The study of a network, and the one that differs; the mark ``done`` says that they are whole."""
    shutil.rmtree(folder, ignore_errors=True)
    study = studied(name, seed, folder, once)
    _ = study.results
    if not once:
        again = folder / "other"
        other = Study(other_plan(study), study.source, again, study.allow_code, study.given)
        _ = other.results
    (folder / "done").touch()


def graded(name: str, seed: int, folder: Path) -> pd.DataFrame:
    """The claims of a network's study by the rules of the day, with their truth."""
    study = Study.open(folder / "run")
    if (folder / "other").is_dir():
        keep_other_run(study, Study.open(folder / "other"))
    claims = study.grade().claims[COLUMNS]
    found = truth(name, seed, study)
    return claims.merge(found, on=["feature", "outcome"]).assign(
        seed=seed, family=name, repeated=(folder / "other").is_dir()
    )


def truth(name: str, seed: int, study: Study) -> pd.DataFrame:
    """What every feature does on other families, in the units of the claims, and what swapping its values does."""
    world, rng = world_of(name, seed), np.random.default_rng([seed, 2])
    rows = world.draw(rng, TRUTH_FAMILIES.get(name, 1500))
    dictionary, levels = study.basis.dictionary, study.contrast_levels
    made = Edited.of(world, rows, dictionary.read, dictionary.write, dictionary.center)
    place = _places(levels.groups, made.site.shape[1])
    other = torch.from_numpy(np.random.default_rng(0).permutation(len(rows)))
    clean = made.outcome(made.site)
    effect, swapped = [], []
    for k in range(len(dictionary.names)):
        values = made.values(k)
        if world.rests_on == "mr":
            effect.append(
                (made.setting(k, values + 0.05) - made.setting(k, values - 0.05)).mean(axis=0) / 0.1
            )
        else:
            high, low = (torch.from_numpy(np.asarray(x)[k, place])[None] for x in (levels.high, levels.low))
            # Tokens without natural values of their own (the first and the last of a row) are left as they are.
            high, low = (torch.where(x.isnan(), values, x) for x in (high, low))
            effect.append((made.setting(k, high) - made.setting(k, low)).mean(axis=0) / NATURAL_SD)
        written = torch.from_numpy(np.isfinite(np.asarray(levels.high)[k, place]))[None]
        swap = torch.where(written, values[other], values)
        swapped.append(np.sqrt(((made.setting(k, swap) - clean) ** 2).mean(axis=0) / 2))
    outcomes = [f.__name__ for f in READ]
    index = pd.MultiIndex.from_product([dictionary.names, outcomes], names=["feature", "outcome"])
    return pd.DataFrame({"truth": np.ravel(effect), "swapped": np.ravel(swapped)}, index=index).reset_index()


def _places(groups: tuple[str, ...], tokens: int) -> np.ndarray:
    """Which group each token of an input is of."""
    if "rest" not in groups:
        return np.zeros(tokens, dtype=int)
    names = ["first", *["rest"] * (tokens - 2), "last"]
    return np.array([groups.index(n) for n in names])


def judged(found: pd.DataFrame) -> pd.DataFrame:
    """Every claim with whether its feature has an effect, and whether what the grade says is true."""
    outside = (found["truth"].abs() > found["rope"]).to_numpy()
    same = (np.sign(found["truth"]) == np.sign(found["effect"])).to_numpy()
    slope = (found["estimand"] == "local slope").to_numpy()
    absent = ~outside & (slope | (found["swapped"] <= 2 * found["rope"]).to_numpy())
    right = np.where((found["grade"] == "Z").to_numpy(), absent, outside & same)
    return found.assign(has_effect=outside, right=right)


def table(found: pd.DataFrame) -> pd.DataFrame:
    """By grade: claims, those that have an effect, share true with its Wilson interval."""
    found = judged(found)
    ratio = found["truth"] / found["effect"]
    rows = []
    for letter, word in GRADES.items():
        here = (found["grade"] == letter).to_numpy()
        n, true = int(here.sum()), int(found["right"].to_numpy()[here].sum())
        scored = letter in SCORED and n > 0
        lower, upper = proportion_confint(true, n, method="wilson") if scored else (np.nan, np.nan)
        rows.append(
            {
                "grade": f"{letter} {word}",
                "claims": n,
                "with an effect": int(found["has_effect"].to_numpy()[here].sum()),
                "share true": true / n if scored else np.nan,
                "lower": lower,
                "upper": upper,
                "size within half to twice": float(ratio[here].between(0.5, 2.0).mean())
                if scored and letter != "Z"
                else np.nan,
            }
        )
    return pd.DataFrame(rows)


def page(found: pd.DataFrame) -> str:
    """The tables as Markdown, with how few claims they hold, and every claim that is not true."""
    known = judged(found)
    strong = known[known["grade"].isin(["A", "B"])]
    true, n = int(strong["right"].sum()), len(strong)
    lower, upper = proportion_confint(true, n, method="wilson") if n else (np.nan, np.nan)
    lines = [
        "# Grades against the truth",
        "",
        f"`python benchmarks/evidence/grade_calibration.py`: {len(found)} claims (asked for: {WANTED}) of"
        f" {len(found[['family', 'seed']].drop_duplicates())} networks of {found['family'].nunique()} families,"
        f" {n} of them graded A or B (asked for: {WANTED_STRONG}); {known['has_effect'].mean():.0%} of the",
        "features have an effect outside the region of practical equivalence. No rule was chosen on these networks. 95% intervals are"
        " Wilson's, claims taken as",
        "independent: those of one study share errors, so that the intervals are too narrow.",
        "",
        f"Of the claims graded A or B {true} of {n} are true: {true / n if n else np.nan:.3f}, 95% interval {lower:.3f} to {upper:.3f}"
        f" (asked for: {SHARE:.2f}, {'the lower bound reaches it' if lower >= SHARE else 'the lower bound does not reach it'}).",
        "A asks for a second run, which"
        f" {len(known.loc[known['repeated'], ['family', 'seed']].drop_duplicates())} of the networks have.",
        "",
        *_grades(table(found)),
        "",
        "## By family",
        "",
        "| family | networks | claims | with an effect | A | B | A and B true | C true | Z true |",
        "|---|---|---|---|---|---|---|---|---|",
        *(_family(str(name), part) for name, part in known.groupby("family", sort=True)),
        "",
        "## Claims that are not true",
        "",
        *_failures(known),
    ]
    return "\n".join([*lines, ""])


def _grades(shown: pd.DataFrame) -> list[str]:
    """The table of grades."""
    lines = [
        "| grade | claims | with an effect | share true (95% interval) | size within half to twice |",
        "|---|---|---|---|---|",
    ]
    for r in shown.to_dict("records"):
        known, sized = r["share true"] == r["share true"], r["size within half to twice"]
        share = f"{r['share true']:.3f} ({r['lower']:.3f} to {r['upper']:.3f})" if known else ""
        size = f"{sized:.2f}" if sized == sized else ""
        lines.append(f"| {r['grade']} | {r['claims']} | {r['with an effect']} | {share} | {size} |")
    return lines


def _family(name: str, part: pd.DataFrame) -> str:
    """One family's row: shares as numbers of claims."""

    def share(letters: str) -> str:
        some = part[part["grade"].isin(list(letters))]
        return f"{int(some['right'].sum())} of {len(some)}"

    counts = [int((part["grade"] == g).sum()) for g in "AB"]
    cells = [name, part["seed"].nunique(), len(part), f"{part['has_effect'].mean():.0%}", *counts]
    return f"| {' | '.join(map(str, [*cells, share('AB'), share('C'), share('Z')]))} |"


def _failures(known: pd.DataFrame) -> list[str]:
    """Every scored claim that is not true, in words."""
    wrong = known[known["grade"].isin(list(SCORED)) & ~known["right"]]
    if not len(wrong):
        return ["None."]
    return [
        f"- {r['grade']}, {r['family']} {r['seed']}, {r['feature']} on {r['outcome']}: estimate {r['effect']:+.3g}"
        f" ({r['ci_lower']:+.3g} to {r['ci_upper']:+.3g}), truth {r['truth']:+.3g}, region +-{r['rope']:.2g},"
        f" swapping {r['swapped']:.2g}."
        for r in wrong.sort_values(["grade", "family", "seed"]).to_dict("records")
    ]


def measured(found: pd.DataFrame) -> dict[str, Any]:
    """What every report prints beside a grade: claims of each, and the share that is true with its interval."""
    grades = {
        str(r["grade"])[0]: {
            "claims": int(r["claims"]),
            **{
                k: round(float(r[of]), 4)
                for k, of in (("share", "share true"), ("lower", "lower"), ("upper", "upper"))
            },
        }
        for r in table(found).to_dict("records")
        if r["share true"] == r["share true"]
    }
    return {"rules": DEFAULT, "claims": len(found), "grades": grades}


def main() -> None:
    """Run what is missing, grade all that is there, and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, nargs=2, default=(1000, 1020))
    parser.add_argument("--families", nargs="+", choices=list(WORLDS), default=list(WORLDS))
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--once", action="store_true", help="a study as it is by default, and no second run")
    parser.add_argument("--keep", type=Path, default=Path("runs/grade_calibration"))
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    asked = parser.parse_args()
    torch.set_num_threads(1)
    for seed in range(*asked.seeds):
        for name in asked.families:
            folder = asked.keep / f"{name}-{seed}"
            if not (folder / "done").exists() and time.process_time() < 60 * asked.minutes:
                carried_out(name, seed, folder, asked.once)
                print(f"{name} {seed}: {time.process_time():.0f} s", flush=True)
    there = sorted(p.parent.name.rsplit("-", 1) for p in asked.keep.glob("*/done"))
    found = pd.concat([graded(name, int(seed), asked.keep / f"{name}-{seed}") for name, seed in there])
    found.to_csv(asked.out / "grade_calibration.csv", index=False, float_format="%.6g")
    kept = pd.read_csv(asked.out / "grade_calibration.csv")
    MEASURED.write_text(json.dumps(measured(kept), indent=1) + "\n", encoding="utf-8")
    said = page(kept)
    (asked.out / "grade_calibration.md").write_text(said, encoding="utf-8")
    print(said)


if __name__ == "__main__":
    main()
