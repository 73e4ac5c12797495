"""What the verb ``mr`` asks and says: methods and options as written, results as sentences or as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from mrinterp.core.errors import InputError
from mrinterp.core.mrdata import MRData
from mrinterp.core.storage import to_plain
from mrinterp.mr._engine.default_method import standard_methods
from mrinterp.mr._engine.named_findings import Findings
from mrinterp.mr._engine.registry import find
from mrinterp.results._estimates import Estimate, Estimates

__all__ = [
    "lost_sentences",
    "methods_for",
    "nothing_estimated",
    "parse_options",
    "records",
    "sentences",
    "strength_sentences",
]

_NAMED = 20
"""Instruments that one sentence names."""
_SWITCHES = {"true": True, "false": False, "yes": True, "no": False, "on": True, "off": False}
_APART = ("outliers", "instrument_used")
_RUCKER_MODELS = {
    1: "IVW, fixed effects",
    2: "IVW, random effects",
    3: "Egger, fixed effects",
    4: "Egger, random effects",
}


def methods_for(place: str, data: MRData, asked: Sequence[str]) -> list[str]:
    """The methods asked for, or the standard ones.

    Raises
    ------
    InputError
        If there are fewer instruments than exposures and nothing univariable was asked for: then no
        estimate of what was asked can come out. (Where something else can, such cells get a status.)
    """
    F, _, J = data.shape
    if F > J and (not asked or all(find(m).kind == "multivariable" for m in asked)):
        raise InputError(
            place,
            f"{J} instruments (rows) for {F} exposures",
            f"Give at least {F} instruments, fewer exposures (--exposure), or a univariable --method",
        )
    return list(asked) or standard_methods(data)


def parse_options(texts: Sequence[str], methods: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Options as written, ``method.option=value``, by method; values are JSON or plain words.

    Raises
    ------
    InputError
        For anything else.
    """
    out: dict[str, dict[str, Any]] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        method, dot, option = name.strip().partition(".")
        if not equals or not dot or not option:
            raise InputError(
                f"option {text!r}",
                "not of the form method.option=value",
                "Write it like egger.distribution=normal",
            )
        if method not in methods:
            raise InputError(
                f"option {text!r}", f"method {method!r} is not asked for", f"Add --method {method}"
            )
        default = find(method).options.get(option)
        parsed = _parsed(value.strip(), default)
        if isinstance(default, float) and isinstance(parsed, int) and not isinstance(parsed, bool):
            parsed = float(parsed)
        if (
            default is not None
            and isinstance(default, str | int | float)
            and type(parsed) is not type(default)
        ):
            raise InputError(
                f"option {text!r}",
                f"a {type(parsed).__name__}",
                f"Give a {type(default).__name__}, like {default}",
            )
        out.setdefault(method, {})[option] = parsed
    return out


def _parsed(value: str, default: Any) -> Any:
    """A value as it is written in JSON, in Python, or as a plain word."""
    word = value.lower()
    if word in ("true", "false") or (isinstance(default, bool) and word in _SWITCHES):
        return _SWITCHES[word]
    if isinstance(default, bool) and word in ("0", "1"):
        return word == "1"
    if word in ("none", "null"):
        return None
    try:
        return json.loads(value)
    except (json.JSONDecodeError, RecursionError):
        return value.strip("'")


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def records(results: Iterable[Estimates], **more: Any) -> list[dict[str, Any]]:
    """One plain dictionary per method, exposure and outcome, ready for JSON."""
    out: list[dict[str, Any]] = []
    for result in results:
        flagged: dict[str, dict[tuple[str, str], list[str]]] = {
            k: {(x, y): names for x, y, names in v} for k, v in result.meta.items() if _is_flag(v)
        }
        findings = Findings(result.meta)
        for row in result.to_frame().to_dict("records"):
            record = {str(k): v for k, v in row.items() if k != "df" or np.isfinite(v)}
            for name in result.details:
                record[name] = _number(row[name])
            if row["status"] != "ok" and not np.isfinite(row["estimate"]):
                record = {k: v for k, v in record.items() if k not in result.details or v is not None}
            for name, by_cell in flagged.items():
                record[name] = by_cell.get((row["exposure"], row["outcome"]), [])
            record |= findings.of_cell(row["exposure"], row["outcome"])
            record["label"] = result.label
            record["parameters"] = _readable(result.meta.get("options", {}))
            record["assumes"] = list(result.assumes)
            out.append({**to_plain(record), **to_plain(more)})
    return out


def _is_flag(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(v, list) and len(v) == 3 for v in value)


def _readable(options: Mapping[str, Any]) -> dict[str, Any]:
    return {
        k: v
        for k, v in options.items()
        if v is None or isinstance(v, str | int | float | bool | list | tuple)
    }


def strength_sentences(data: MRData) -> list[str]:
    """How strongly the instruments move each exposure (the first twenty)."""
    out = []
    with np.errstate(all="ignore"):
        z2 = np.square(data.beta_x / data.se_x)
    for name, row in list(zip(data.exposures, z2, strict=True))[:20]:
        known = row[np.isfinite(row)]
        if len(known):
            f = float(known.mean())
            verdict = "weak: estimates are biased" if f < 10 else "strong enough for most methods"
            out.append(
                f"Strength of {name}: mean F = {f:.3g} over {len(known)} instrument{'s' * (len(known) > 1)} ({verdict})."
            )
    return out


def nothing_estimated(results: Sequence[Estimates]) -> str:
    """A sentence where not one cell of any method came out, with the first reason; otherwise empty."""
    reasons = []
    for result in results:
        frame = result.to_frame()
        if (np.isfinite(frame["estimate"]) | (frame["status"] == "ok")).any():
            return ""
        reasons += list(frame["status"])
    return f"nothing that was asked for could be estimated ({reasons[0] if reasons else 'no method'})"


def lost_sentences(data: MRData) -> list[str]:
    """Every instrument that was dropped, with its reason; many with one reason in one sentence."""
    out = []
    for reason, names in data.dropped.groupby("reason", sort=False)["instrument"]:
        if len(names) > _NAMED:
            shown = ", ".join(names.iloc[:_NAMED])
            out.append(
                f"Dropped {len(names):,} instruments: {reason} ({shown} and {len(names) - _NAMED:,} more)."
            )
        else:
            out += [f"Dropped {name}: {reason}." for name in names]
    return out + _set_aside_sentences(data)


def _set_aside_sentences(data: MRData) -> list[str]:
    """Instruments of the table that cannot count for a trait, with the reason."""
    out = []
    sides = ((data.exposures, data.beta_x, data.se_x), (data.outcomes, data.beta_y, data.se_y))
    for traits, beta, se in sides:
        for trait, b, s in zip(traits, beta, se, strict=True):
            for where, why in (
                (np.isnan(b) | np.isnan(s), "effect or standard error missing"),
                (np.isinf(b) | np.isinf(s), "effect or standard error infinite"),
            ):
                names = [data.instruments[j] for j in np.flatnonzero(where)]
                if names:
                    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
                    out.append(f"Set aside for {trait}: {', '.join(names[:_NAMED])}{more} ({why}).")
    return out


def sentences(results: Iterable[Estimates]) -> Iterator[str]:
    """Each estimate as a sentence, with outliers, overdispersion and conditional strength after it."""
    for result in results:
        flagged = {
            k: {(x, y): names for x, y, names in v}
            for k, v in result.meta.items()
            if k in _APART and _is_flag(v)
        }
        findings = Findings(result.meta)
        for exposure in result.exposures:
            for outcome in result.outcomes:
                one = result[exposure, outcome]
                text = str(one)
                text += _more(one, findings.of_cell(exposure, outcome))
                for flag, word in zip(_APART, ("Outliers", "Instrument used"), strict=True):
                    names = flagged.get(flag, {}).get((exposure, outcome), [])
                    text += f" {word}: {', '.join(names)}." if names else ""
                yield text


def _more(one: Estimate, found: Mapping[str, list[Any]]) -> str:
    """What the method has to say beside effect, interval and assumptions."""
    has = {k: v for k, v in one.details.items() if np.isfinite(v)}
    text = ""
    if "conditional_f" in has:
        weak = " (weak)" if has["conditional_f"] < 10 else ""
        text += f" Conditional F of {one.exposure} = {has['conditional_f']:.3g}{weak}."
    if "overdispersion" in has:
        text += f" Overdispersion tau^2 = {has['overdispersion']:.3g}."
    if one.method == "rucker" and "model" in has:
        text += f" Chosen: {_RUCKER_MODELS[int(has['model'])]}."
    if "global_p" in has:
        text += f" Global test of pleiotropy: p = {has['global_p']:.2g}."
    for name in ("pip", "inclusion"):
        if name in has:
            text += f" Posterior probability that {one.exposure} acts: {has[name]:.2g}."
    for mode in found.get("modes", []):
        effects = ", ".join(f"{v:.3g}" for v in mode["effects"])
        text += f" Mode at {effects}, supported by {len(mode['instruments'])} instruments."
    for group in found.get("credible_sets", []):
        others = [x for x in group["exposures"] if x != one.exposure]
        if others and len(others) < len(group["exposures"]):
            text += f" In a credible set with {', '.join(others)}: which of them acts cannot be told."
    return text
