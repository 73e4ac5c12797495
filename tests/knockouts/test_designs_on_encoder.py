"""Every design on a float32 encoder with sentences of different lengths: blocks, padding, rules."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mrinterp.adapters._model_inputs import ModelInputs
from mrinterp.adapters._torch_module import TorchAdapter
from mrinterp.core.errors import InputError
from mrinterp.features._units import Units
from mrinterp.knockouts._bench import Bench
from mrinterp.knockouts._designs.corruption import Corruption
from mrinterp.knockouts._designs.direct_effect import direct_effect
from mrinterp.knockouts._designs.dose_response import dose_response
from mrinterp.knockouts._designs.epistasis import epistasis
from mrinterp.knockouts._designs.faithfulness import faithfulness
from mrinterp.knockouts._designs.ordered_knockouts import ordered_knockouts
from mrinterp.knockouts._designs.rescue import rescue
from mrinterp.knockouts._designs.set_effects import set_effects
from mrinterp.knockouts._designs.specificity import specificity
from mrinterp.outcomes._outcome_set import OutcomeSet
from mrinterp.outcomes._projection_and_callable import CallableOutcome
from mrinterp.positions import MEAN_OF_TOKENS, AllTokens, Position

SITE = "encoder.layer.1"


def _bench(folder: Path, rule: Position, block: int, extra: int = 0) -> Bench:
    """24 sentences of 4 to 8 tokens; ``extra`` more columns of padding."""
    from transformers import BertModel

    model = BertModel.from_pretrained(folder).eval().requires_grad_(False)
    generator = torch.Generator().manual_seed(0)
    length = 4 + torch.arange(24) % 5
    tokens = torch.randint(4, 20, (24, 8 + extra), generator=generator)
    tokens[:, :8] = torch.randint(4, 20, (24, 8), generator=torch.Generator().manual_seed(1))
    mask = (torch.arange(8 + extra)[None] < length[:, None]).long()
    given = ModelInputs({"input_ids": tokens * mask, "attention_mask": mask}, mask)
    outcome = OutcomeSet(
        [
            CallableOutcome("a", lambda out, _mask: out.last_hidden_state[:, 0, 3]),
            CallableOutcome("b", lambda out, _mask: out.last_hidden_state[:, 0, 5]),
        ]
    )
    return Bench(
        TorchAdapter(model),
        SITE,
        Units(range(8), 24),
        given,
        outcome,
        position=rule,
        family=np.arange(24) % 6,
        block=block,
        first="embeddings",
    )


def _corrupted(bench: Bench) -> Corruption:
    return Corruption.features(bench, "encoder.layer.0", Units(range(12), 24), 2.0, AllTokens())


DESIGNS: dict[str, tuple[Callable[[Bench], Any], tuple[str, ...]]] = {
    "dose response": (lambda b: dose_response(b, features=[0, 3], draws=50), ("effect", "se")),
    "epistasis": (lambda b: epistasis(b, "mean", range(4)), ("interaction", "joint", "se")),
    "rescue": (lambda b: rescue(b, _corrupted(b), [0, 3], draws=50), ("corruption_effect", "recovered")),
    "ordered": (lambda b: ordered_knockouts(b, "mean", range(4), random_orders=3), ("effect", "random")),
    "direct": (lambda b: direct_effect(b, "zero", [0, 3]), ("total", "direct", "se")),
    "specificity": (lambda b: specificity(b, "mean", [0, 3], controls=["b"]), ("effect", "se")),
    "sets": (lambda b: set_effects(b, "zero", {"x": [0, 3]}, draws=50), ("noised", "denoised")),
    "faithfulness": (
        lambda b: faithfulness(b, "zero", range(8), proportions=[0.25, 0.5, 1.0], draws=50),
        ("score", "score_complement"),
    ),
}


@pytest.mark.needs("transformers")
@pytest.mark.parametrize("rule", [AllTokens(), MEAN_OF_TOKENS], ids=["each token", "mean"])
@pytest.mark.parametrize("design", DESIGNS)
def test_blocks_and_padding_change_no_more_than_the_last_bits(
    tiny_encoder: Path, design: str, rule: Position
) -> None:
    run, names = DESIGNS[design]
    result = run(_bench(tiny_encoder, rule, 24))
    moved = np.abs(getattr(result, names[0])).max()
    assert moved > 1e-5
    for other in (run(_bench(tiny_encoder, rule, 7)), run(_bench(tiny_encoder, rule, 24, extra=3))):
        for name in names:
            np.testing.assert_allclose(
                getattr(other, name), getattr(result, name), rtol=2e-3, atol=2e-5 * max(moved, 1.0)
            )
    assert result.noise_floor < 1e-5
    assert str(result)


@pytest.mark.needs("transformers")
def test_no_knockout_of_any_design_is_an_edit_that_does_nothing(tiny_encoder: Path) -> None:
    """nan leaves a feature as it is: then every effect is nothing, and says so."""
    bench = _bench(tiny_encoder, AllTokens(), 24)
    result = direct_effect(bench, np.nan, [0, 3])
    assert np.abs(result.total).max() < 1e-5
    assert (result.downstream == "negligible").all()
    assert (epistasis(bench, np.nan, [0, 3]).call == "negligible").all()
    nothing = set_effects(bench, np.nan, {"x": [0]})
    assert "within the noise floor" in str(nothing["x", "a"])


@pytest.mark.needs("transformers")
def test_frozen_sites_before_the_site_are_refused(tiny_encoder: Path) -> None:
    with pytest.raises(InputError, match="is not reached after"):
        direct_effect(
            _bench(tiny_encoder, AllTokens(), 24), "mean", [0], freeze=["encoder.layer.0.output.dense"]
        )
