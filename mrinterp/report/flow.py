"""Design and flow: what was run on which families, what was dropped and why, what was checked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mrinterp.core.basis import MOVED, Dictionary
from mrinterp.core.design import SPLITS, UNREAD
from mrinterp.core.plan_inputs import OBSERVED, PERTURBATIONS
from mrinterp.core.shown import listed
from mrinterp.report.chosen import chosen_in_words, one_vector, place_word, scale_in_words, scales_compared
from mrinterp.report.finished import FinishedStudy
from mrinterp.report.numbers import plain
from mrinterp.report.order import blind
from mrinterp.results._check import NotApplicable

__all__ = ["flow", "leaks_in_words"]

_ROLES = {
    "discovery": "features, bypass and its rank are learned here",
    "estimation": "effects are estimated here",
    "replication": "the same estimate on other families",
    "knockout": "features are changed by hand here",
    UNREAD: "read by nothing: for knockouts that are chosen later",
}
BLIND = ", before any estimate exists"
"""What is added to the role of the knockout split where the record of the run proves it."""
_FEATURE_KINDS = {
    "layer": "units",
    "heads": "directions of attention heads",
    "subspace": "coordinates of a subspace",
    "embedding": "directions of word embeddings",
    "token": "directions of output tokens",
    "sae": "latents of an autoencoder",
    "train_sae": "latents of an autoencoder trained on the discovery split",
    "transcoder": "latents of a transcoder",
}
_READ_BACK = 4000
"""Features whose reading back is compared pair by pair; of more, these first ones stand for all."""
_SHOWN_SCALES = 50
"""Rows of the path over the noise's scale, those with the clearest difference first; all lie in the run folder."""
_KIND_ORDER = ("clean", *PERTURBATIONS)
_PERTURBATIONS = {
    "noise": "fixed random directions added to the word embeddings of a class of tokens, in random doses",
    "slot": "the filler of a slot replaced by another, drawn at random",
    "pair": "the clean prompt replaced by its corrupted partner",
    "substitution": "words exchanged for other words, drawn at random",
    "deletion": "words left out, drawn at random",
    "masking": "words replaced by the mask token, drawn at random",
    "swap": "neighboring words that change places, drawn at random",
    "resampling": "values replaced by those of other prompts at the same place, drawn at random",
    "paraphrase": "the prompt worded anew",
    "occlusion": "patches of the image covered, drawn at random",
    "observed": "other texts of the corpus that differ in few words: their doses are found, not assigned",
}
_ON_INPUTS = "fixed patterns added to the inputs themselves, block by block (of a table: column by column), in random doses"
_AT_MODULE = "fixed random directions added to the output of a module that reads the inputs, in random doses"


def flow(study: FinishedStudy) -> dict[str, Any]:
    """What the design section prints."""
    plan, basis = study.header["plan"], study.basis
    d = basis.dictionary
    return {
        "site": plan["model"]["site"],
        "outcomes": [_outcome(o) for o in plan["outcome"]],
        "beside": plan["model"]["beside"],
        "position": _position(study.choices.get("position", plan["features"])["position"]),
        "chosen": chosen_in_words(study),
        "one_vector": one_vector(study),
        "place": place_word(study),
        "scale_path": _scale_rows(study),
        "scale_words": scale_in_words(study),
        "scales": scales_compared(study),
        "sae": basis.meta.get("sae"),
        "reads": _reads(plan),
        "kind": plan["estimation"]["kind"],
        "covariance": plan["estimation"]["covariance"],
        "features": len(d.names),
        "feature_kind": _FEATURE_KINDS.get(
            plan["features"]["kind"], plan["features"]["kind"].replace("_", " ")
        ),
        "unit": d.unit,
        "rank": basis.rank,
        "ceiling": basis.meta.get("ceiling"),
        "components": len(basis.order),
        "departure": plain(_departure(d), ".1e"),
        **_writes(d),
        "kinds": _kinds(study),
        "found": OBSERVED in _kinds(study),
        "drawn": bool(set(_kinds(study)) - {"clean", OBSERVED}),
        "perturbations": [(k, _perturbation(k, plan)) for k in _kinds(study) if k in _PERTURBATIONS],
        "family": _family(plan),
        "imported_labels": bool(plan["features"]["labels"]),
        "splits": _splits(study),
        "examples": _examples(study),
        "instruments": _instruments(study),
        "dropped": _dropped(study),
        "rank_rows": [
            (int(r["rank"]), plain(r["outcome_r2"], ".3f"), plain(r["feature_r2"], ".3f"))
            for r in basis.path.to_dict(orient="records")
        ],
        "knockouts": _knockouts(study),
        "checks": study.checks,
    }


def _reads(plan: Mapping[str, Any]) -> str | None:
    """Where latents of a transcoder are read; None for features that are read where they are written."""
    if plan["features"]["kind"] != "transcoder":
        return None
    return plan["features"].get("reads") or f"{plan['model']['site']}:input"


def _outcome(section: Mapping[str, Any]) -> dict[str, Any]:
    """An outcome section: its settings beyond name, kind, anchors and sampling, in words."""
    shown = ("target", "against", "log", "position", "per_token", "direction", "function")
    more = [f"{k.replace('_', ' ')} {section[k]}" for k in shown if section.get(k) not in (None, False)]
    if section["kind"] == "generated":
        more.append(f"{section['new_tokens']} new tokens, {section['replicates']} seeded texts per run")
    return {**section, "more": more}


def _perturbation(kind: str, plan: Mapping[str, Any]) -> str:
    """What is done to inputs, in words."""
    if plan["instruments"].get(kind, {}).get("saturation"):
        return f"{_PERTURBATIONS[kind].replace(', drawn at random', '')}: one at a time, each in turn against the clean input"
    if kind != "noise":
        return _PERTURBATIONS[kind]
    said, levels = _PERTURBATIONS[kind], plan["instruments"]["noise"].get("levels", ())
    if plan.get("inputs", {}).get("kind") in ("images", "table"):
        said = _ON_INPUTS if plan["model"]["embedding"] == "input" else _AT_MODULE
    every = f", every draw at levels {listed([f'{level:g}' for level in levels])} of the dose, up and down"
    return said + every if levels else said


def _family(plan: Mapping[str, Any]) -> str:
    """What a family is, in words."""
    inputs = plan.get("inputs")
    if inputs is not None:
        by = f"inputs of one {inputs['family']}"
        return "every input by itself" if inputs["families"] == "each" else by
    return (
        "the prompts made from one template" if plan["prompts"]["templates"] else "as the prompt table says"
    )


def _position(position: int | str) -> str:
    named = {"mean": "the mean over tokens", "last": "the last token"}
    if isinstance(position, str) and ":" in position:
        return f"tokens {position}"
    return named.get(str(position), f"token {position}" if isinstance(position, int) else f"class {position}")


def _scale_rows(study: FinishedStudy) -> list[tuple[str, str, str, str, str, bool]]:
    """Feature, outcome, effect at half and at full scale, their difference, and whether it is beyond errors."""
    path = study.scale_path
    if isinstance(path, NotApplicable):
        return []
    rows = path.sort_values("change", key=lambda c: -c.abs() / path["change_se"], kind="stable")
    rows = rows[rows["change"].notna()].head(_SHOWN_SCALES)
    return [
        (
            str(r["feature"]),
            str(r["outcome"]),
            _with_error(r, "half"),
            _with_error(r, "full"),
            _with_error(r, "change"),
            bool(r["curvature"]),
        )
        for r in rows.to_dict("records")
    ]


def _with_error(row: Mapping[Any, Any], name: str) -> str:
    return f"{plain(row[name])} ({plain(row[name + '_se'])})"


def _kinds(study: FinishedStudy) -> list[str]:
    found = list(dict.fromkeys(study.design.runs["kind"].astype(str)))
    return [k for k in _KIND_ORDER if k in found] + sorted(set(found) - set(_KIND_ORDER))


def _splits(study: FinishedStudy) -> list[dict[str, Any]]:
    """Families, prompts and runs of each kind in every split."""
    kinds, out = _kinds(study), []
    for split in (*SPLITS, UNREAD):
        runs = study.design.runs[study.design.runs["split"] == split]
        if len(runs):
            counts = runs["kind"].value_counts()
            out.append(
                {
                    "split": split,
                    "role": _ROLES[split] + (BLIND if split == "knockout" and blind(study) else ""),
                    "families": runs["family"].nunique(),
                    "prompts": runs["prompt"].nunique(),
                    "runs": [int(counts.get(k, 0)) for k in kinds],
                }
            )
    return out


def _examples(study: FinishedStudy, count: int = 3) -> list[str]:
    """Clean prompts of different families."""
    design = study.design
    shown = "text" if "text" in design.inputs.columns else "shown"
    if shown not in design.inputs.columns:
        return []
    clean = design.runs[(design.runs["kind"] == "clean") & (design.runs["split"] == "estimation")]
    rows = clean.drop_duplicates("family")["input"].head(count)
    return [str(design.inputs[shown].iloc[i]) for i in rows]


def _instruments(study: FinishedStudy) -> list[dict[str, Any]]:
    """Instruments per kind: in the design, kept and dropped by the marginal scan."""
    out = []
    for kind, rows in study.design.instruments.groupby("kind", sort=True):
        placebo = bool(rows["placebo"].all())
        row = {"kind": str(kind), "total": len(rows), "loci": rows["locus"].nunique(), "placebo": placebo}
        row |= {"kept": None, "dropped": None}
        if kind in study.sumstats and not placebo:
            data = study.sumstats[str(kind)].to_mrdata(str(kind), with_errors=False)
            row |= {"kept": data.shape[2], "dropped": len(data.dropped)}
        out.append(row)
    return out


def _dropped(study: FinishedStudy) -> list[dict[str, Any]]:
    """Instruments left out of the marginal scan, by reason."""
    out = []
    for kind, stats in study.sumstats.items():
        dropped = stats.to_mrdata(kind, with_errors=False).dropped
        for reason, rows in dropped.groupby("reason", sort=True):
            out.append({"kind": kind, "reason": str(reason), "names": [str(n) for n in rows["instrument"]]})
    return out


def _largest(values: NDArray, spec: str) -> str:
    finite = np.asarray(values, float)
    finite = finite[np.isfinite(finite)]
    return plain(float(finite.max()), spec) if finite.size else plain(np.nan)


def _knockouts(study: FinishedStudy) -> list[dict[str, Any]]:
    """What every kind of knockout wrote, and whether it wrote what it meant to."""
    return [
        {
            "name": name,
            "label": k.label,
            "features": len(k.features),
            "prompts": len(k.inputs),
            "families": k.inputs["family"].nunique(),
            "read_back": _largest(k.read_back_error, ".1e"),
            "leakage": _largest(k.leakage, ".1e"),
            "off_support": _largest(k.off_support, ".1%"),
            "outside_range": _largest(k.outside_range, ".0%"),
            "noise_floor": ", ".join(plain(floor, ".1e") for floor in k.noise_floor),
        }
        for name, k in study.knockouts.items()
    ]


def _writes(d: Dictionary) -> dict[str, str]:
    """What is written of a feature, where its read-back matrix comes from, and whom it moves besides."""
    if d.read is not None:
        return {
            "written": "the direction that moves it and no other feature",
            "read_back": "matrix W A",
            "leaking": "",
        }
    return {
        "written": "its decoder row" + (", which moves the readings of others too" if d.leaking else ""),
        "read_back": "measured on natural inputs, basis/read_back.csv",
        "leaking": leaks_in_words(d),
    }


def leaks_in_words(d: Dictionary) -> str:
    """Which features' writes move another one's reading; nothing where none does."""
    few = d.leaking
    if not few:
        return ""
    return (
        f"Writing {len(few)} of {len(d.names)} features moves another one by more than {MOVED:g} of its units, at most by"
        f" {d.moved_beside.max():.2f}: {listed(few)}. Their effects are those of the write, not of one feature alone."
    )


def _departure(d: Dictionary) -> float:
    """Largest departure of writing and reading back from the identity."""
    if d.read is None or len(d.names) <= _READ_BACK:
        return float(np.abs(d.read_back - np.eye(len(d.names))).max())
    return float(np.abs(d.read[:_READ_BACK] @ d.write[:_READ_BACK].T - np.eye(_READ_BACK)).max())
