"""Tiny networks and studies, built from a config, never downloaded."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

FILLERS = {
    "when": ["yesterday", "today", "often"],
    "person": ["teacher", "nurse", "driver", "child"],
    "quality": ["good", "bad", "dull", "fine"],
}
PLACES = ["house", "garden", "office", "train", "school", "market", "museum", "river"]
VERBS = ["saw", "liked", "sold", "painted", "found", "left"]


def templates(count: int) -> list[str]:
    """Distinct templates with the slots of `FILLERS`."""
    frames = (
        "{{when}} the {{person}} {verb} the {{quality}} {place}",
        "the {{quality}} {place} was what the {{person}} {verb} {{when}}",
    )
    made = [f.format(verb=v, place=p) for f, v, p in itertools.product(frames, VERBS, PLACES)]
    return [f"{made[i % len(made)]}{' indeed' * (i // len(made))}" for i in range(count)]


def save_tiny_encoder(folder: Path) -> Path:
    """A 4-layer BERT of width 24 with random weights and a word-level tokenizer."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace
    from tokenizers.processors import TemplateProcessing
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    words = sorted({w for f in FILLERS.values() for w in f} | set(PLACES) | set(VERBS))
    words += ["the", "was", "what", "indeed"]
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    vocabulary = {w: i for i, w in enumerate(special + words)}
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]",
        special_tokens=[("[CLS]", vocabulary["[CLS]"]), ("[SEP]", vocabulary["[SEP]"])],
    )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]"
    )
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=24,
        num_hidden_layers=4,
        num_attention_heads=4,
        intermediate_size=48,
        max_position_embeddings=24,
        initializer_range=0.15,
    )
    BertModel(config).save_pretrained(folder)
    fast.save_pretrained(folder)
    return folder


def tiny_study(encoder: Path, **changes: Any) -> dict[str, Any]:
    """The tiny study as a dictionary; ``changes`` replace whole sections' keys."""
    study: dict[str, Any] = {
        "title": "a tiny study",
        "model": {"folder": str(encoder), "site": "encoder.layer.1", "padded_length": 14, "block": 64},
        "features": {"count": 6},
        "outcome": {
            "name": "good_minus_bad",
            "positive": ["the good house", "fine"],
            "negative": ["the bad house", "dull"],
        },
        "prompts": {"templates": "templates.txt", "per_family": 2, "fillers": FILLERS},
        "splits": {"min_families": 40},
        "instruments": {
            "slot": {"runs_per_prompt": 2},
            "noise": {"runs_per_prompt": 5, "directions_per_class": 4, "scale": 0.1, "split_at": "quality"},
            "placebo": {"count": 6},
        },
        "estimation": {"max_rank": 40},
        "knockouts": {"families": 12, "prompts_per_family": 1, "random_controls": 2},
    }
    for key, value in changes.items():
        if isinstance(value, dict) and isinstance(study.get(key), dict):
            study[key] = {**study[key], **value}
        else:
            study[key] = value
    # What most tests are about is no choice of the study's.
    study["features"] = {"position": "mean", **study["features"]}
    return study


def to_toml(value: dict[str, Any], prefix: str = "") -> str:
    """Enough TOML for study files."""
    import json

    plain, tables = [], []
    for key, item in value.items():
        name = f"{prefix}{key}"
        if isinstance(item, list) and item and isinstance(item[0], dict):
            tables += [f"[[{name}]]\n{to_toml(entry, name + '.')}" for entry in item]
        elif isinstance(item, dict):
            tables.append(f"[{name}]\n{to_toml(item, name + '.')}")
        else:
            plain.append(f"{key} = {json.dumps(item)}")
    return "\n".join(plain) + "\n" + "\n".join(tables)


def write_tiny_study(
    folder: Path, encoder: Path, families: int = 160, name: str = "tiny.toml", **changes: Any
) -> Path:
    """Write templates and study file; returns the study file."""
    (folder / "templates.txt").write_text("\n".join(templates(families)) + "\n")
    path = folder / name
    path.write_text(to_toml(tiny_study(encoder, **changes)))
    return path


def tiny_decoder(vocabulary: int = 20, dtype: Any = None) -> Any:
    """A 3-layer GPT-2 of width 24 with random weights, in evaluation mode."""
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=vocabulary,
        n_positions=32,
        n_embd=24,
        n_layer=3,
        n_head=4,
        initializer_range=0.3,
        bos_token_id=0,
        eos_token_id=0,
    )
    return GPT2LMHeadModel(config).eval().to(dtype or torch.float32).requires_grad_(False)


DECODER_FILLERS = {"person": ["nurse", "pilot", "teacher", "boss"], "when": ["today", "again", "yesterday"]}


def decoder_templates(count: int) -> list[str]:
    """Distinct templates with the slots of `DECODER_FILLERS`."""
    made = [f"The {{person}} {v} {{when}} near the {p} that" for v, p in itertools.product(VERBS, PLACES)]
    return [f"{made[i % len(made)]}{' indeed' * (i // len(made))}" for i in range(count)]


def save_tiny_gpt2(folder: Path, layers: int = 8) -> Path:
    """A GPT-2 of width 24 with random weights and a byte-level tokenizer, in which a word has another number after a space."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

    words = [*DECODER_FILLERS["person"], *DECODER_FILLERS["when"], "he", "she", "said", *VERBS, *PLACES]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=2000,
        special_tokens=["<|endoftext|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    texts = [*words, *(f"the {w}" for w in words), "The near the that indeed again"] * 3
    tokenizer.train_from_iterator(texts, trainer)
    end = "<|endoftext|>"
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token=end, eos_token=end, unk_token=end)
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=len(fast), n_positions=64, n_embd=24, n_layer=layers, n_head=4, initializer_range=0.15,
        bos_token_id=0, eos_token_id=0,
    )  # fmt: skip
    GPT2LMHeadModel(config).save_pretrained(folder)
    fast.save_pretrained(folder)
    return folder
