"""A sparse autoencoder as a measurement of its site, beside a dictionary that is exact.

    python benchmarks/diagnostics/dictionary_quality.py

Whole studies of a small GPT-2 trained here (`planted_text`), after its first block: latents of autoencoders trained on the
discovery families, and principal directions, which are read and written exactly. For each what goes past the dictionary, what writing
a feature moves besides, which latents share instruments, and whether estimates by instruments miss the matched shifts more where a
latent is marked. Writes benchmarks/results/diagnostics_dictionary_quality.md.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from mrinterp import Study
from mrinterp.core.basis import MOVED
from mrinterp.worlds import planted_text

RESULTS = Path(__file__).parents[1] / "results" / "diagnostics_dictionary_quality.md"
FAMILIES, PER_FAMILY = 240, 4
NETWORKS = (("graded", 0),)
DICTIONARIES: dict[str, dict[str, Any]] = {
    "96 latents, 6 active, 800 steps": {
        "kind": "train_sae",
        "count": 24,
        "train": {"latents": 96, "k": 6, "steps": 800},
    },
    "32 latents, 2 active, 200 steps": {
        "kind": "train_sae",
        "count": 24,
        "train": {"latents": 32, "k": 2, "steps": 200},
    },
    "principal directions": {"kind": "principal_components", "count": 24},
}


def studied(task: str, seed: int, features: dict[str, Any], folder: Path) -> Study:
    """A study of a planted network, on sentences of its own."""
    world = planted_text(task, seed, FAMILIES, PER_FAMILY, folder=folder / "networks")
    tokens, mask = world.inputs.tensors["input_ids"].numpy(), world.inputs.mask
    assert mask is not None
    length = mask.sum(dim=1).numpy()
    most = int(
        np.bincount(length).argmax()
    )  # arrays of tokens without padding: the sentences of the commonest length
    kept = length == most

    def log_odds(output: Any, mask: Any) -> Any:
        return world.outcome(output, mask)[:, 0]

    out = folder / f"{task}-{seed}-{features['kind']}-{features.get('train', {}).get('latents', 0)}"
    return Study.from_model(
        world.adapter.module,
        None,
        {"inputs": tokens[kept, :most], "family": world.family[kept]},
        site=world.site,
        features=features,
        outcome=log_odds,
        out=out,
        title=f"{task} {seed}",
        position="mean",
        seed=seed,
    )


def measured(study: Study) -> dict[str, Any]:
    """What the checks and the knockouts say of one study."""
    checks = {c["name"].split(":")[0]: c for c in study.checks}
    matrix = study.basis.dictionary.read_back
    away = np.abs(matrix - np.diag(np.diag(matrix)))
    within, shift = study.estimates["within"], study.knockouts["shift"]
    off = np.abs(within.beta - shift.effect) > stats.t.ppf(0.975, within.df) * np.hypot(within.se, shift.se)
    known = np.isfinite(within.beta[:, 0] + shift.effect[:, 0])
    marked = study.basis.dictionary.moved_beside > MOVED
    back, shared = checks.get("writes read back"), checks.get("latents that share instruments")
    past = checks.get("past the dictionary")
    return {
        "features": len(matrix),
        "explained": study.basis.meta["sae"]["explained_variance"] if past else np.nan,
        "past": past["statistic"] if past else np.nan,
        "diagonal": (np.diag(matrix).min(), np.diag(matrix).max()),
        "beside": away.max(),
        "leaking": int(marked.sum()),
        "leakage": float(np.nanmax(study.knockouts["contrast"].leakage)),
        "verdict": back["verdict"] if back else "exact",
        "pairs": int(shared["statistic"]) if shared and shared["verdict"] != "not applicable" else 0,
        "missed_marked": (int(off[marked & known, 0].sum()), int((marked & known).sum())),
        "missed_free": (int(off[~marked & known, 0].sum()), int((~marked & known).sum())),
    }


def page(rows: list[dict[str, Any]]) -> str:
    """What is committed."""
    table = pd.DataFrame(rows)
    lines = [
        "# A dictionary as a measurement of its site",
        "",
        f"Written by `benchmarks/diagnostics/dictionary_quality.py`: {len(rows)} whole studies, {table['seconds'].median():.0f} s each."
        " *Past*: share of what the perturbations do to the outcome that is gone where the reconstruction takes the site's place."
        " *Read back*: what is read of a feature after one unit of it is written. *Moves another*: the largest change of another"
        f" feature, in its units, and how many features move another by more than {MOVED:g}. *Contrast moves another*: the same in the"
        " contrasts' own runs, at natural size. *MR off the shift*: estimates by instruments that miss the matched shift by more than"
        " both errors, of the features so marked and of the others.",
        "",
        "| network | dictionary | features | variance explained | past | read back | moves another | contrast moves another |"
        " pairs that share instruments | MR off the shift, marked | not marked |",
        "|" + "---|" * 11,
    ]
    for r in rows:
        low, high = r["diagonal"]
        share = ("-" if np.isnan(v) else f"{v:.1%}" for v in (r["explained"], r["past"]))
        lines.append(
            f"| {r['network']} | {r['dictionary']} | {r['features']} | {' | '.join(share)} | {low:.2f} to {high:.2f} |"
            f" {r['beside']:.2g} ({r['leaking']}) | {r['leakage']:.2g} | {r['pairs']} | {r['missed_marked'][0]} of"
            f" {r['missed_marked'][1]} | {r['missed_free'][0]} of {r['missed_free'][1]} |"
        )
    lines += ["", "## What the checks say", ""]
    lines += [f"- {r['network']}, {r['dictionary']}: {said}" for r in rows for said in r["said"]]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run the studies and write the page."""
    rows = []
    names = ("writes read back", "latents that share instruments", "past the dictionary")
    with tempfile.TemporaryDirectory() as folder:
        for task, seed in NETWORKS:
            for name, features in DICTIONARIES.items():
                start = time.perf_counter()
                study = studied(task, seed, features, Path(folder))
                found = measured(study)
                said = [
                    f"{c['name']}: {c['verdict']}. {c['note']}"
                    for c in study.checks
                    if c["name"].split(":")[0] in names
                ]
                took = time.perf_counter() - start
                rows.append(
                    {"network": f"{task} {seed}", "dictionary": name, "seconds": took, "said": said, **found}
                )
                print(rows[-1], flush=True)
    RESULTS.write_text(page(rows))


if __name__ == "__main__":
    main()
