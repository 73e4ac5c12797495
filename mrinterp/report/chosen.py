"""What a study chose on its discovery split since its plan leaves it open, and how MR goes over the noise's scale, in words."""

from __future__ import annotations

from mrinterp.report.finished import FinishedStudy
from mrinterp.results._check import NotApplicable

__all__ = [
    "chosen_in_words",
    "noise_in_words",
    "one_vector",
    "place_word",
    "scale_in_words",
    "scales_compared",
    "tokens_in_words",
]


def one_vector(study: FinishedStudy) -> bool:
    """Whether the site holds one vector per input: then there are no tokens to speak of."""
    why = str(study.choices.get("position", {}).get("why", ""))
    return why.startswith("the site holds one vector per input")


def place_word(study: FinishedStudy) -> str:
    """What a site holds a vector for: a token of a text, a place of an image, or the input as a whole."""
    if one_vector(study):
        return "input"
    inputs = study.header["plan"].get("inputs") or {}
    return "place" if inputs.get("kind") in ("images", "table") else "token"


def chosen_in_words(study: FinishedStudy) -> list[str]:
    """One sentence a choice; nothing where the plan states all."""
    return [line for line in (tokens_in_words(study), noise_in_words(study)) if line]


def tokens_in_words(study: FinishedStudy) -> str:
    """Where features are read and written, if the study chose it."""
    choices = study.choices
    if one_vector(study):
        return "Features are read and written once per input: the site holds one vector."
    if "position" not in choices:
        return ""
    place = choices["position"]["position"]
    word = place_word(study)
    where = f"the mean over all {word}s" if place == "mean" else f"the {word}s of class {place!r}"
    why = choices["position"]["why"].replace("over all tokens", f"over all {word}s")
    return f"Features are read and written at {where}, chosen on discovery: {why}."


def noise_in_words(study: FinishedStudy) -> str:
    """The scale of the noise, if the study chose it."""
    if "noise" not in study.choices:
        return ""
    noise = study.choices["noise"]
    by_scale: dict[float, list[str]] = {}
    for name, s in noise["scale"].items():
        by_scale.setdefault(s, []).append(name)
    # One scale for all needs no names.
    scales = ", ".join(
        f"{s:g}" if len(by_scale) == 1 else f"{s:g} ({', '.join(names)})" for s, names in by_scale.items()
    )
    return (
        f"Scale of the noise, chosen on discovery: {scales}; it moved {noise['within']:.0%} of the features by .5 to 1.5"
        f" natural sd ({len(noise['tried'])} tried)."
    )


def scales_compared(study: FinishedStudy) -> tuple[str, str]:
    """The two scales of the noise that MR is compared at, smaller first."""
    levels = study.header["plan"]["instruments"]["noise"].get("levels")
    return (f"level {min(levels):g}", f"level {max(levels):g}") if levels else ("half scale", "full scale")


def scale_in_words(study: FinishedStudy) -> str:
    """Where MR at half the scale of the noise, or at the smallest of its levels, says something else; empty without noise."""
    path = study.scale_path
    if isinstance(path, NotApplicable):
        return ""
    known = path[path["change"].notna()]
    curved = known[known["curvature"]]
    less, full = scales_compared(study)
    where = "half the scale of the noise" if less == "half scale" else f"{less} of the noise, against {full}"
    line = (
        f"At {where}, on {path['families'].iloc[0]} families, MR says something else of {len(curved)} of"
        f" {len(known)} effects beyond errors (curvature; {len(known) / 20:.2g} by chance)"
    )
    if len(curved):
        sizes = (curved["change"].abs() / curved["change_se"]).to_numpy()
        worst = curved.iloc[int(sizes.argmax())].to_dict()
        line += (
            f", most clearly of {str(worst['feature']).rsplit(':', 1)[-1]}: {worst['half']:+.2g} at {less.removesuffix(' scale')},"
            f" {worst['full']:+.2g} at {full}"
        )
    return line + "."
