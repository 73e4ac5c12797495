"""What plan and prompts already tell: checked before the first pass of a network, and by a dry run."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mrinterp.core.design import Design
from mrinterp.core.errors import InputError
from mrinterp.core.plan import FEWEST_FAMILIES, Plan
from mrinterp.core.plan_inputs import PERTURBATIONS
from mrinterp.knockouts._study_bench import clean_runs
from mrinterp.knockouts._study_contrast import knocked_out
from mrinterp.models._cut import CutNetwork
from mrinterp.models._plan_network import StudyNetwork
from mrinterp.scan._cost import needed_bytes, refuse_too_large
from mrinterp.scan._dictionary import feature_names, more_components
from mrinterp.scan._discovery import named_labels
from mrinterp.scan._one_batch import check_one_batch
from mrinterp.scan._study_sae import STORED, stored_sae

__all__ = ["check_before", "unknown_in_words"]


def check_before(
    plan: Plan, source: Path, out: Path, opened: StudyNetwork, design: Design, network: CutNetwork
) -> None:
    """Refuse, before hours of passes, what could only be refused after them.

    Parameters
    ----------
    source, out : Path
        Folder that the plan's relative paths start from, and run folder.
    network : CutNetwork
        On the design's inputs, which are by then tokenized, within the padded length, and have the plan's positions,
        labels and continuations.

    Raises
    ------
    InputError
        For features that the site or the autoencoder does not have, labels of none of them, words that the tokenizer
        cannot tell apart, a kind of perturbation without runs, fewer runs than features, more donors or random
        directions than there are, or more memory or disk than the machine has.
    """
    _refuse_pieces_of_words(plan, opened, design)
    names = _names(plan, source, opened, design, network)
    if plan.features.labels:
        from mrinterp.tables._labels import read_labels

        named_labels(read_labels(source / plan.features.labels), names)
    given = len(names) if not plan.features.sparse or plan.features.latents else plan.features.count
    _refuse_same_tokens(design, network)
    _refuse_unknown_fillers(design, network, opened)
    _refuse_few_runs(plan, design, given)
    _refuse_few_donors(plan, design)
    counts = {"random_controls": plan.knockouts.controls(network.width)}
    for name, controls in (counts | {"permuted_controls": plan.knockouts.permuted_controls}).items():
        if controls > network.width:
            raise InputError(
                f"knockouts.{name}",
                f"{controls} directions of a site of width {network.width}",
                f"Ask for at most {network.width}",
            )
    refuse_too_large(*needed_bytes(design, plan, given, network.width, len(network.inputs.class_names)), out)
    check_one_batch(plan, design, network)


def _names(
    plan: Plan, source: Path, opened: StudyNetwork, design: Design, network: CutNetwork
) -> tuple[str, ...]:
    """Names that features can have: all of them, or those of every latent where the most variable are chosen."""
    features, site, width = plan.features, plan.model.site, network.width
    if features.sparse:
        return _latent_names(plan, source, network)
    given = opened.plan_features(width)
    if given is not None:
        return tuple(f"{site}:{name}" for name in given.names)
    sentences = int((design.runs["kind"].iloc[design.rows("discovery")] != "noise").sum())
    most = min(width, sentences - 1)
    if features.count > most:
        raise InputError(
            "features.count",
            f"{features.count} components from {sentences} sentences of width {width}",
            more_components(most, sentences - 1),
        )
    return feature_names(site, features.count)


def _latent_names(plan: Plan, source: Path, network: CutNetwork) -> tuple[str, ...]:
    features, train = plan.features, plan.features.train
    if features.kind in STORED:
        stated = None if features.position == "auto" else network.position
        total = stored_sae(network, plan, source, stated).latents
    else:
        total = train.latents
        if train.k > total:
            raise InputError(
                "features.train.k", f"{train.k} of {total} latents", "Keep at most all of them per token"
            )
    beyond = [i for i in features.latents or () if not 0 <= i < total]
    if beyond:
        raise InputError(
            f"features.latents, latent {beyond[0]}",
            f"the {'transcoder' if features.kind == 'transcoder' else 'SAE'} has {total} latents",
            f"Latents run from 0 to {total - 1}",
        )
    if features.latents is None and features.count > total:
        raise InputError(
            "features.count", f"{features.count} latents; there are {total}", f"Ask for at most {total}"
        )
    return tuple(f"{plan.model.site}:latent{i}" for i in features.latents or range(total))


def _refuse_pieces_of_words(plan: Plan, opened: StudyNetwork, design: Design) -> None:
    """Refuse a target that is a piece inside a word, where every text ends with a word: the next one begins with a space.

    Raises
    ------
    InputError
        Offers the word with its space. A piece that is meant is given by its number.
    """
    tokenizer = opened.tokenizer
    if (
        tokenizer is None
        or "text" not in design.inputs
        or plan.model.kind == "classifier"
        or design.inputs["text"].str.contains(r"\s$").any()
    ):
        return

    def number(text: str) -> int | None:
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        return int(ids[0]) if len(ids) == 1 and ids[0] != tokenizer.unk_token_id else None

    for section in plan.outcome:
        for key in ("target", "against"):
            text = getattr(section, key)
            if not isinstance(text, str) or text[:1].lower() == text[:1].upper():
                continue  # a number, or no letter: signs stand without a space
            own, spaced = number(text), number(f" {text}")
            if own is not None and spaced is not None and own != spaced:
                raise InputError(
                    f"outcome {section.name!r}, {key}",
                    f"{text!r} is token {own}, a piece that goes on with a word; the texts end with whole words",
                    f'Write " {text}" (token {spaced}), with the space that a new word begins with; or give {own} if'
                    " the piece is meant",
                )


def _refuse_unknown_fillers(design: Design, network: CutNetwork, opened: StudyNetwork) -> None:
    """A filler that the tokenizer does not know is one token with every other such word: nothing is substituted."""
    unknown, ids = getattr(opened.tokenizer, "unk_token_id", None), network.inputs.tensors.get("input_ids")
    classes = network.inputs.classes
    if unknown is None or ids is None or classes is None or "text" not in design.inputs:
        return
    for slot in design.settings["slots"]:
        held = (ids == unknown) & (classes == network.inputs.class_names.index(slot))
        rows = held.any(dim=1).nonzero().flatten().tolist()
        if rows:
            row = design.inputs.iloc[rows[0]]
            word = row["text"][int(row[f"{slot}_start"]) : int(row[f"{slot}_end"])]
            raise InputError(
                f"prompts.fillers.{slot}",
                f"{word!r} is unknown to the tokenizer ({opened.tokenizer.unk_token})",
                "Give a word that it knows",
            )


def unknown_in_words(design: Design, network: CutNetwork, opened: StudyNetwork) -> str:
    """How many inputs hold tokens that the tokenizer does not know, and the first of them; empty without one."""
    unknown, ids = getattr(opened.tokenizer, "unk_token_id", None), network.inputs.tensors.get("input_ids")
    # Where texts begin or end with the same token, it says nothing about words.
    special = {getattr(opened.tokenizer, f"{n}_token_id", None) for n in ("bos", "eos", "pad")}
    if unknown is None or ids is None or unknown in special or "text" not in design.inputs:
        return ""
    rows = (ids == unknown).any(dim=1).nonzero().flatten().tolist()
    if not rows:
        return ""
    text = design.inputs["text"].iloc[rows[0]]
    return (
        f"{len(rows)} of {len(ids)} inputs hold words that the tokenizer does not know"
        f" ({opened.tokenizer.unk_token}), the first: {text[:60]!r}."
    )


def _refuse_same_tokens(design: Design, network: CutNetwork) -> None:
    """A substitution that leaves all tokens as they were cannot change anything in the network."""
    kinds = tuple(k for k in PERTURBATIONS if k != "noise")
    rows = design.rows("discovery", kinds)
    if not len(rows):
        return
    ids = np.concatenate([t.flatten(1).cpu().numpy() for t in network.inputs.tensors.values()], axis=1)
    runs = design.runs
    clean_rows = runs["clean"].to_numpy()[rows]
    own, clean = (runs["input"].to_numpy()[r] for r in (rows, clean_rows))
    still = (ids[own] == ids[clean]).all(axis=1)
    change = np.asarray(design.doses[rows], dtype=float) - np.asarray(design.doses[clean_rows], dtype=float)
    columns = np.concatenate([design.columns(kind) for kind in kinds])
    patterns, which = np.unique(change[:, columns], axis=0, return_inverse=True)
    moved = np.bincount(which.ravel(), weights=~still, minlength=len(patterns)) > 0
    edits = np.isin(design.instruments["kind"].iloc[columns], ("slot", "pair"), invert=True)
    # Of edits that are drawn word by word, one of several that are done at once may be idle.
    alone = (patterns != 0).any(axis=1) & ((patterns[:, edits] != 0).sum(axis=1) <= 1)
    for pattern in patterns[~moved & alone]:
        names = design.instruments["instrument"].iloc[columns[pattern != 0]].map(repr)
        raise InputError(
            f"instrument {' and '.join(names)}",
            "never changes the site: the tokens stay those of the clean prompt (discovery split)",
            "Give a filler that the tokenizer does not treat like another",
        )


def _refuse_few_runs(plan: Plan, design: Design, features: int) -> None:
    """Every regression needs more perturbed runs than it has features, in estimation and again in replication."""
    kinds = [k for k in PERTURBATIONS if len(design.rows("estimation", (k,)))]
    if plan.estimation.kind not in kinds:
        raise InputError(
            "estimation.kind",
            f"no {plan.estimation.kind!r} runs in the design",
            f"Ask for runs of that kind, or choose {' or '.join(map(repr, kinds)) or 'another'}",
        )
    for split in ("estimation", "replication"):
        for kind in kinds if split == "replication" else [plan.estimation.kind]:
            runs = len(design.rows(split, (kind,)))
            if runs <= features:
                prompts = len(design.rows(split, ("clean",)))
                enough = f"instruments.{kind}.runs_per_prompt to {features // prompts + 1}"
                prompts_of = "prompts" if plan.inputs is None else "inputs"
                raise InputError(
                    f"splits.{split}",
                    f"{runs} {kind} runs for {features} features: each regression needs more runs than columns",
                    f"Raise {f'{prompts_of}.per_family' if plan.instruments.paired(kind) else enough}, or add families",
                )


def _refuse_few_donors(plan: Plan, design: Design) -> None:
    wanted = max(
        (k.swaps(plan.knockouts.donors) for k in plan.knockouts.kinds if k.kind == "resample"), default=0
    )
    # A pilot asks for no fewer families than a claim needs.
    split, rows = knocked_out(plan, design, plan.knockouts.families or FEWEST_FAMILIES)["kinds"]
    family = clean_runs(design, split)["family"].iloc[rows]
    fewest = int(len(family) - family.value_counts().max())
    if wanted > fewest:
        raise InputError(
            "knockouts.donors",
            f"{wanted} donors of other families wanted, {fewest} of the prompts that are knocked out are of other families",
            f"Ask for at most {fewest}",
        )
