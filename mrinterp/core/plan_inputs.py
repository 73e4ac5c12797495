"""Sections of a study file: inputs that are no texts, and the perturbations that serve as instruments."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import Field, model_validator

from mrinterp.core.errors import InputError
from mrinterp.core.plan_outcome import OutcomeSection
from mrinterp.core.section import Fraction, Section, refuse_unused_keys

__all__ = [
    "EDITS",
    "INPUT_KEYS",
    "OBSERVED",
    "PERTURBATIONS",
    "InputsSection",
    "InstrumentsSection",
    "Perturbation",
    "for_inputs",
    "refuse_misfits",
]

Perturbation = Literal[
    "noise",
    "slot",
    "pair",
    "substitution",
    "deletion",
    "masking",
    "swap",
    "resampling",
    "paraphrase",
    "occlusion",
    "observed",
]
"""A kind of perturbed runs."""

PERTURBATIONS: tuple[str, ...] = get_args(Perturbation)
"""All kinds, in the order in which they are listed."""

OBSERVED = "observed"
"""The kind whose doses are found in a corpus, not assigned."""

EDITS = ("substitution", "deletion", "masking", "swap", "resampling")
"""Kinds that edit words of a text, or tokens of an array."""

# For each kind: keys that it needs, keys that it may have.
INPUT_KEYS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "tokens": (("file",), ("columns", "array", "mask", "pad_id", "mask_id", "special")),
    "images": ((), ("file", "folder", "array", "mean", "sd")),
    "table": (("file",), ("columns", "array")),
}
COMMON = ("index", "family", "families", "label", "per_family", "argument")


class InputsSection(Section):
    """Inputs that are no texts: arrays of tokens, images, rows of a table. Takes the place of `[prompts]`."""

    kind: Literal["tokens", "images", "table"] = Field(
        description="`tokens` (rows of token numbers), `images` (channels, height, width) or `table` (rows of numbers)."
    )
    file: str | None = Field(
        default=None,
        description="File with one input per row: `.npy`, `.npz` or `.csv` for tokens, `.npy` or `.npz` for images, `.csv`,"
        " `.parquet`, `.npy` or `.npz` for a table.",
    )
    folder: str | None = Field(
        default=None,
        description="For `images`: folder of PNG files of one size, read in the order of their names; give this or `file`.",
    )
    array: str | None = Field(
        default=None,
        description="Name of the inputs' array in an `.npz` file; left out, `input_ids`, `pixel_values`, or the only array"
        " that has the shape of inputs.",
    )
    columns: tuple[str, ...] | None = Field(
        default=None,
        description="Columns that the network gets, in this order; left out, all but family and label. For a `.npy` table:"
        " their names.",
    )
    index: str | None = Field(
        default=None,
        description="CSV file with one row per input, in their order (for a folder: with a column `file`), whose columns"
        " `family` and `label` may name.",
    )
    family: str | None = Field(
        default=None,
        description="Column of the file or of `index`, or array of the `.npz` file, that says which family (patient, scene,"
        " topic) each input is of: errors are clustered by it.",
    )
    families: Literal["each"] | None = Field(
        default=None,
        description="`each`: every input is a family of its own, where inputs have nothing in common; give this or `family`.",
    )
    label: str | None = Field(
        default=None,
        description="Column or array with a label of each input (number or name of a token or class), which the outcome"
        " `loss` compares the output with, and by which features of images are described.",
    )
    per_family: int = Field(
        default=12,
        ge=1,
        le=100_000,
        description="Inputs per family, at most, in the discovery, estimation and replication splits.",
    )
    argument: str | None = Field(
        default=None,
        description="Name of the network's argument that gets the inputs; left out, `input_ids` for tokens and `pixel_values`"
        " for images where it has such a one, else its first.",
    )
    mask: str | None = Field(
        default=None,
        description="For `tokens`: name of the array in the `.npz` file that is 1 on an input's own tokens and 0 on padding.",
    )
    pad_id: int | None = Field(
        default=None,
        ge=0,
        description="For `tokens`: the token that inputs are padded with, where there is no `mask`.",
    )
    mask_id: int | None = Field(
        default=None, ge=0, description="For `tokens`: the mask token, which `instruments.masking` writes."
    )
    special: tuple[int, ...] = Field(
        default=(),
        description="For `tokens`: tokens that are never edited nor put in place of others (beginning and end of a text);"
        " columns that hold one token in all rows, `pad_id` and `mask_id` are not either.",
    )
    mean: tuple[float, ...] | None = Field(
        default=None,
        description="For `images`: subtracted from every channel, after whole numbers from 0 to 255 are divided by 255.",
    )
    sd: tuple[float, ...] | None = Field(
        default=None, description="For `images`: what every channel is divided by after `mean` is subtracted."
    )

    @model_validator(mode="after")
    def _keys_of_the_kind(self) -> Self:
        refuse_unused_keys(self, INPUT_KEYS, COMMON)
        if (self.family is None) == (self.families is None):
            found = "neither family nor families" if self.family is None else "both family and families"
            raise InputError("family", found, 'Give family = "column", or families = "each"')
        if self.kind == "images" and (self.file is None) == (self.folder is None):
            found = "neither file nor folder" if self.file is None else "both file and folder"
            raise InputError("file", found, 'Give file = "images.npz", or folder = "pngs"')
        return self


class OneAtATimeSection(Section):
    """What is perturbed at random places, or at one place at a time."""

    saturation: bool = Field(
        default=False,
        exclude_if=lambda one: not one,
        description="One at a time, each in turn against the clean input (in-silico mutagenesis), in place of several drawn at"
        " random: a filler of a slot, a word, a column or a patch. `runs_per_prompt` is then the most that an input has; where there"
        " are more, they are taken in turn from one drawn at random. `probability` is not used.",
    )

    @model_validator(mode="after")
    def _one_or_several(self) -> Self:
        if self.saturation and "probability" in self.model_fields_set:
            found = "given together with saturation, which perturbs one at a time"
            raise InputError("probability", found, "Keep one of the two")
        return self


class SlotSection(OneAtATimeSection):
    """Slot substitution: runs in which words of the prompt are exchanged for other fillers."""

    runs_per_prompt: int = Field(
        default=3,
        ge=0,
        le=10_000,
        description="Runs with substituted slots for every prompt; 0 leaves them out.",
    )
    probability: Fraction = Field(
        default=0.5,
        description="Chance, between 0 and 1, that such a run substitutes a given slot; at least one slot always is.",
    )


class NoiseSection(Section):
    """Noise along fixed directions, paired with the clean run: on the word embeddings, or where `model.embedding` says."""

    runs_per_prompt: int = Field(
        default=10,
        ge=0,
        le=10_000,
        description="Runs with noise for every prompt, in pairs of opposite noise; 0 leaves them out.",
    )
    directions_per_class: int = Field(
        default=96,
        ge=1,
        le=10_000,
        description="Fixed random directions for every token class; each is one instrument, with a dose of its own in"
        " every noise run.",
    )
    scale: Annotated[float, Field(gt=0)] | Literal["auto"] = Field(
        default="auto",
        description="Standard deviation of the noise on each coordinate of a token's word embedding, in units of the"
        " embedding; `auto` chooses it on the discovery split for every token class, so that most features move by .5 to"
        " 1.5 natural sd, and says what it chose.",
    )
    levels: tuple[Annotated[float, Field(gt=0, le=1000)], ...] = Field(
        default=(),
        exclude_if=lambda levels: not levels,
        description="Levels of the dose, such as `[0.5, 1.0, 2.0]`: what the scale is multiplied by. Every draw of the noise is run"
        " once at each level and once at each turned around, so that only the dose differs; `runs_per_prompt` is a multiple of"
        " twice their number. Estimates use all of them, and a check says whether features and outcomes respond in proportion"
        " to the dose. Left out, every draw is run at the scale itself, and on a few families at half of it.",
    )
    split_at: str | None = Field(
        default=None,
        description="Slot at which the tokens outside all slots are divided into the classes `before` and `after`; left"
        " out, they are one class, `rest`.",
    )
    blocks: int = Field(
        default=2,
        ge=1,
        le=64,
        exclude_if=lambda blocks: blocks == 2,
        description="For images: side of the grid of blocks that pixels (or places of `embedding`) are divided into; a block"
        " is to an image what a token class is to a text, with directions of its own.",
    )

    @property
    def series(self) -> tuple[float, ...]:
        """What one draw of the noise is multiplied by, run after run: every level, then every level turned around."""
        levels = self.levels or (1.0,)
        return (*levels, *(-level for level in levels))

    @model_validator(mode="after")
    def _levels_of_a_series(self) -> Self:
        levels, runs, turn = self.levels, self.runs_per_prompt, len(self.series)
        if not levels:
            return self
        if len(set(levels)) < max(len(levels), 2):
            found = f"{list(levels)}: a dose without variation"
            raise InputError("levels", found, "Give two or more different ones, or leave levels out")
        if not runs or runs % turn:
            found = f"{runs} runs of a prompt for {len(levels)} levels, each up and down"
            raise InputError(
                "runs_per_prompt",
                found,
                f"Give a multiple of {turn}, such as {-(-max(runs, 1) // turn) * turn}",
            )
        return self


class EditSection(OneAtATimeSection):
    """Edits of single words."""

    runs_per_prompt: int = Field(
        default=0, ge=0, le=10_000, description="Runs of this kind for every prompt; 0 leaves them out."
    )
    probability: Fraction = Field(
        default=0.2,
        description="Chance, between 0 and 1, that such a run edits a given word; at least one always is.",
    )


class SubstitutionSection(EditSection):
    """Substitution: runs in which words are exchanged for other words, one token for one token."""

    words: dict[str, tuple[str, ...]] = Field(
        default_factory=dict,
        description="For each word that may be exchanged, the words that may take its place (token numbers for token"
        " arrays). Left out, words come from the vocabulary: single tokens of about the same length and frequency (by their"
        " numbers, which vocabularies give out by frequency), never special tokens.",
    )

    @model_validator(mode="after")
    def _in_name_order(self) -> Self:
        # Draws go through the words one by one: their order must not depend on the file's.
        object.__setattr__(self, "words", dict(sorted(self.words.items())))
        return self


class DeletionSection(EditSection):
    """Deletion: runs in which words are left out. Slots, and the first and the last word, always stay."""


class MaskingSection(EditSection):
    """Masking: runs in which words become the mask token, for networks that have one."""


class SwapSection(EditSection):
    """Swaps: runs in which two neighboring words change places."""


class ResamplingSection(EditSection):
    """Resampling: words (for a table: columns) take the value that they have in another prompt of the split, at the same place."""


class ParaphraseSection(Section):
    """Paraphrases: runs in which the whole prompt is worded anew, as the column `paraphrase` of the prompt table says."""

    runs_per_prompt: int = Field(
        default=10,
        ge=0,
        le=10_000,
        description="Paraphrases of every prompt that are run, at most; 0 leaves them out.",
    )


class ObservedSection(Section):
    """Variants found in a corpus: prompts of the table that differ in few words serve as perturbations of one another."""

    runs_per_prompt: int = Field(
        default=0,
        ge=0,
        le=10_000,
        description="Variants of a prompt that are run, at most; 0 leaves them out. Prompts without a variant are then not run.",
    )
    most: int = Field(
        default=2, ge=1, le=100, description="Words in which a prompt may differ from the first one like it."
    )
    fewest: int = Field(
        default=5,
        ge=1,
        le=100_000,
        description="Families that a difference, a pair of words, must be found in to be an instrument. Its doses are found, not"
        " assigned: estimates by them are given the doses' correlation (LD), and are never taken for randomized.",
    )


class OcclusionSection(OneAtATimeSection):
    """Occlusion: runs in which patches of an image are covered."""

    runs_per_prompt: int = Field(
        default=0,
        ge=0,
        le=10_000,
        description="Runs with covered patches for every image; 0 leaves them out.",
    )
    probability: Fraction = Field(
        default=0.2,
        description="Chance, between 0 and 1, of every patch to be covered; at least one always is.",
    )
    patch: int | None = Field(
        default=None,
        ge=1,
        description="Side of a patch in pixels; left out, a quarter of the image's shorter side.",
    )
    fill: float = Field(default=0.0, description="Value of a covered pixel, as the network gets it.")


class PlaceboSection(Section):
    """Placebo instruments: their doses are drawn, but nothing is edited."""

    count: int = Field(
        default=20,
        ge=0,
        le=10_000,
        description="Number of placebo instruments, whose effects show how far pure noise reaches.",
    )


class InstrumentsSection(Section):
    """The kinds of perturbation."""

    slot: SlotSection = Field(default=SlotSection(), description="Slot substitutions.")
    noise: NoiseSection = Field(default=NoiseSection(), description="Noise on the word embeddings.")
    substitution: SubstitutionSection = Field(
        default=SubstitutionSection(),
        exclude_if=lambda section: section == SubstitutionSection(),
        description="Words exchanged for others.",
    )
    deletion: DeletionSection = Field(
        default=DeletionSection(),
        exclude_if=lambda section: section == DeletionSection(),
        description="Words left out.",
    )
    masking: MaskingSection = Field(
        default=MaskingSection(),
        exclude_if=lambda section: section == MaskingSection(),
        description="Words masked.",
    )
    swap: SwapSection = Field(
        default=SwapSection(),
        exclude_if=lambda section: section == SwapSection(),
        description="Neighboring words that change places.",
    )
    resampling: ResamplingSection = Field(
        default=ResamplingSection(),
        exclude_if=lambda section: section == ResamplingSection(),
        description="Words, or columns of a table, as other prompts have them.",
    )
    paraphrase: ParaphraseSection = Field(
        default=ParaphraseSection(),
        exclude_if=lambda section: section == ParaphraseSection(),
        description="Prompts worded anew.",
    )
    occlusion: OcclusionSection = Field(
        default=OcclusionSection(),
        exclude_if=lambda section: section == OcclusionSection(),
        description="Covered patches of images.",
    )
    observed: ObservedSection = Field(
        default=ObservedSection(),
        exclude_if=lambda section: section == ObservedSection(),
        description="Variants found in a corpus.",
    )
    placebo: PlaceboSection = Field(default=PlaceboSection(), description="Placebo instruments.")

    def paired(self, kind: str) -> bool:
        """Whether runs of a kind hold one perturbation each, compared with the clean run itself."""
        return kind in ("pair", "paraphrase", OBSERVED) or getattr(
            getattr(self, kind, None), "saturation", False
        )


FITTING = {
    "texts": tuple(k for k in PERTURBATIONS if k != "occlusion"),
    "tokens": ("noise", *EDITS),
    "images": ("noise", "occlusion"),
    "table": ("noise", "resampling"),
}
"""Kinds of perturbation that each kind of input can have."""

WITHOUT_TEXT = {
    "anchor_contrast": "it compares with anchor sentences",
    "anchor_similarity": "it compares with anchor sentences",
    "continuation_log_probability": "it needs a continuation of every prompt",
}
"""Kinds of outcome that need texts, and why."""


def refuse_misfits(
    inputs: InputsSection | None,
    instruments: InstrumentsSection,
    kind: str,
    outcomes: Sequence[OutcomeSection],
    features: str,
) -> None:
    """Refuse what inputs of a kind cannot have: perturbations, outcomes, features.

    Parameters
    ----------
    kind, features : str
        Of the primary estimate, and of the features.

    Raises
    ------
    InputError
        Names the key, and what fits.
    """
    of = "texts" if inputs is None else inputs.kind
    fits = FITTING[of]
    for name in instruments.model_fields_set - {"noise", "placebo"}:
        section = getattr(instruments, name)
        if name not in fits and section.runs_per_prompt and section.model_fields_set:
            why = {"slot": "they have no slots", "paraphrase": "they have no wording"}.get(
                name,
                f"{'texts' if inputs is None else f'inputs of kind {of!r}'} cannot be perturbed in this way",
            )
            raise InputError(f"instruments.{name}", why, f"Leave it out; these can have {', '.join(fits)}")
    if kind not in fits and kind in PERTURBATIONS:
        raise InputError(
            "estimation.kind",
            f"{kind!r}, which inputs of kind {of!r} cannot have",
            f"Choose {' or '.join(fits)}",
        )
    if inputs is None:
        return
    if instruments.noise.split_at is not None:
        raise InputError(
            "instruments.noise.split_at", "inputs that are no texts have no slots", "Leave it out"
        )
    for outcome in outcomes:
        reason = "it continues a text" if outcome.kind == "generated" and of != "tokens" else None
        reason = WITHOUT_TEXT.get(outcome.kind, reason)
        if reason is not None:
            found = f"kind {outcome.kind!r} on inputs of kind {of!r}: {reason}"
            raise InputError(f"outcome {outcome.name!r}", found, "Choose an outcome of the network's output")
    if features == "embedding" and of != "tokens":
        raise InputError(
            "features.kind",
            f"'embedding' on inputs of kind {of!r}: they have no tokens",
            "Choose another kind",
        )


def for_inputs(plan: dict[str, Any]) -> dict[str, Any]:
    """A plan's dictionary without the sections that only texts have, where its inputs are no texts."""
    if plan.get("inputs") is None:
        return plan
    instruments = {name: section for name, section in plan["instruments"].items() if name != "slot"}
    return {name: section for name, section in plan.items() if name != "prompts"} | {
        "instruments": instruments
    }
