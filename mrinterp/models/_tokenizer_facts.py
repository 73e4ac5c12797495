"""What a tokenizer does, in words; and the tokens of prompts by class."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from mrinterp.models._text import tokenize

__all__ = ["classes_of_prompts", "texts_need", "tokenizer_facts"]

PROBE = "the he she"


def tokenizer_facts(tokenizer: Any) -> dict[str, str]:
    """Vocabulary, what is put around a text, padding, spaces and unknown words, one sentence each."""
    if tokenizer is None:
        return {}
    facts = {
        "type": f"{type(tokenizer).__name__}, {len(tokenizer):,} tokens",
        "around a text": _around(tokenizer),
    }
    side = getattr(tokenizer, "padding_side", "right")
    pad = tokenizer.pad_token
    held = f"pads with {pad!r}" if pad is not None else "has no padding token (token 0 stands there, masked)"
    facts["padding"] = held if side == "right" else f"{held} on the {side}; a study pads on the right"
    if not getattr(tokenizer, "is_fast", False):
        facts["offsets"] = (
            "none: a slow tokenizer, which a study cannot use; save the fast one (tokenizer.json)"
        )
    own, spaced = (tokenizer(t, add_special_tokens=False)["input_ids"] for t in ("he", " he"))
    facts["spaces"] = (
        "a word is the same with and without one before it"
        if own == spaced
        else 'a word after a space is another token: write " he" where the next word is meant, not "he"'
    )
    if tokenizer.unk_token is not None and tokenizer.unk_token_id not in (
        tokenizer.bos_token_id,
        tokenizer.eos_token_id,
    ):
        facts["unknown words"] = f"become {tokenizer.unk_token}"
    return facts


def _around(tokenizer: Any) -> str:
    """Which special tokens a text gets in front and behind."""
    bare, whole = (tokenizer(PROBE, add_special_tokens=s)["input_ids"] for s in (False, True))
    start = next((i for i in range(len(whole)) if whole[i : i + len(bare)] == bare), 0)
    front = tokenizer.convert_ids_to_tokens(whole[:start])
    behind = tokenizer.convert_ids_to_tokens(whole[start + len(bare) :])
    names = {getattr(tokenizer, f"{n}_token", None): n.upper() for n in ("sep", "cls", "eos", "bos")}
    words = []
    for tokens, where in ((front, "in front"), (behind, "behind")):
        said = [f"{t} ({names.get(t, 'special')})" for t in tokens]
        words += [f"{', '.join(said)} {where}"] if said else []
    if words:
        return "adds " + " and ".join(words)
    begins = (
        f" (begin a prompt with {tokenizer.bos_token} if the network was trained so)"
        if tokenizer.bos_token
        else ""
    )
    return f"no BOS, EOS or CLS{begins}"


def texts_need(tokenizer: Any, texts: list[str]) -> int:
    """Tokens of the longest text, special tokens included: the padded length that a study of them needs."""
    return max((len(ids) for ids in tokenizer(texts)["input_ids"]), default=0)


def classes_of_prompts(tokenizer: Any, inputs: pd.DataFrame, slots: list[str], length: int) -> pd.DataFrame:
    """Tokens per prompt of each token class: ``token_class, least, most, example`` (of the first prompt).

    Parameters
    ----------
    inputs : DataFrame
        ``text`` and ``<slot>_start, <slot>_end`` in characters.
    """
    names = ["first", "last", *slots, "rest"]
    made = tokenize(tokenizer, inputs, length, names, slots, None)
    assert made.classes is not None
    classes, ids = made.classes.numpy(), made.tensors["input_ids"].numpy()
    rows = []
    for k, name in enumerate(names):
        count = (classes == k).sum(axis=1)
        has = np.flatnonzero(count)
        tokens = (
            tokenizer.convert_ids_to_tokens(ids[has[0]][classes[has[0]] == k].tolist()) if len(has) else []
        )
        shown = tokenizer.convert_tokens_to_string(tokens).strip() or " ".join(tokens)
        rows.append((name, int(count.min()), int(count.max()), shown))
    return pd.DataFrame(rows, columns=["token_class", "least", "most", "example"])
