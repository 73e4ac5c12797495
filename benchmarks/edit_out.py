"""A spurious cue edited out of a digit classifier, and its vestigial units pruned: ``python benchmarks/edit_out.py``.

A small network learns "five or more" from scikit-learn's digits while a lit corner pixel tells the answer in 95
of 100 training images. Held-out images are shown three times: with a corner that agrees, one that conflicts,
and none. Prints, per way of editing, accuracy and loss before and after by group with intervals; then how many
hidden units can be shown to do nothing, and what pruning them costs on images not used for finding them. Half
a minute; writes ``benchmarks/results/edit_out.md``.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.datasets import load_digits

from mrinterp.adapters._model_inputs import ModelInputs
from mrinterp.adapters._torch_module import TorchAdapter
from mrinterp.edits._confounder_removal import remove_confounder
from mrinterp.edits._pruning import measure_pruning, prune
from mrinterp.edits._vestigial_features import vestigial_features
from mrinterp.features._directions import Directions
from mrinterp.features._units import Units
from mrinterp.knockouts._bench import Bench
from mrinterp.knockouts._knock_out import knock_out
from mrinterp.outcomes._logit_outcomes import LogitDifference
from mrinterp.outcomes._outcome_set import OutcomeSet
from mrinterp.outcomes._target_outcomes import CorrectAnswer, ExampleLoss

HERE = Path(__file__).parent
HIGH, LOW, HIDDEN = 0, 32, 128


def cued(x: NDArray, says: NDArray) -> torch.Tensor:
    """Images with a corner lit: 1 says five or more, 0 less, -1 nothing."""
    x = x.copy()
    x[says == 1, HIGH] = x[says == 0, LOW] = 1.0
    return torch.from_numpy(x).float()


def trained(x: NDArray, y: NDArray, rng: np.random.Generator) -> torch.nn.Module:
    """The classifier, its weights decayed so that units it does not need fall silent."""
    torch.manual_seed(0)
    net = torch.nn.Sequential(
        torch.nn.Identity(), torch.nn.Linear(64, HIDDEN), torch.nn.ReLU(), torch.nn.Linear(HIDDEN, 2)
    )
    says = np.where(rng.random(len(y)) < 0.95, y, rng.choice([-1, 0, 1], len(y)))
    inputs, labels = cued(x, says), torch.from_numpy(y)
    step = torch.optim.AdamW(net.parameters(), lr=0.01, weight_decay=1.0)
    for _ in range(400):
        step.zero_grad()
        torch.nn.functional.cross_entropy(net(inputs), labels).backward()
        step.step()
    return net.eval().requires_grad_(False)


def bench(net: torch.nn.Module, x: NDArray, y: NDArray, site: str, view: object) -> tuple[Bench, NDArray]:
    """Every image three times, one family; and what the cue says about each."""
    says = np.concatenate([y, 1 - y, np.full(len(y), -1)])
    labels = torch.from_numpy(np.tile(y, 3))
    outcome = OutcomeSet(
        [CorrectAnswer(labels), ExampleLoss(labels), LogitDifference(1, 0, name="logit difference")]
    )
    inputs = ModelInputs({"input": cued(np.tile(x, (3, 1)), says)})
    family = np.tile(np.arange(len(y)), 3)
    made = Bench(TorchAdapter(net), site, view, inputs, outcome, family=family, block=512)  # type: ignore[arg-type]
    return made, np.repeat(["agrees", "conflicts", "absent"], len(y))


def main() -> None:
    """Print and write what the edits did."""
    digits = load_digits()
    x, y = digits.data / 16, (digits.target >= 5).astype(int)
    rng = np.random.default_rng(0)
    order = rng.permutation(len(x))
    train, judge, last = order[:900], order[900:1350], order[1350:]
    net = trained(x[train], y[train], rng)
    weight = net[1].weight.numpy()
    corners = Units([HIGH, LOW], 64, ["high corner", "low corner"])
    cues = Directions.from_write(weight[:, [HIGH, LOW]].T, names=["high cue", "low cue"])
    lines = ["# A spurious cue edited out, vestigial units pruned", "", "## The cue", ""]
    lines += [
        "| edit | group | outcome | inputs | before | after | change (95% interval) |",
        "|---|" + "---|" * 6,
    ]
    for edit, site, view in (("pixels cut off", "0", corners), ("directions of the hidden layer", "1", cues)):
        judged, group = bench(net, x[judge], y[judge], site, view)
        found = remove_confounder(judged, list(view.names), group)
        for r in found.table.to_dict(orient="records"):
            lines.append(
                f"| {edit} ({found.how}) | {r['group']} | {r['outcome']} | {r['inputs']} | {r['before']:.3f} |"
                f" {r['after']:.3f} | {r['change']:+.3f} ({r['lower']:.3f} to {r['upper']:.3f}) |"
            )
    units, _ = bench(net, x[judge], y[judge], "2", Units(range(HIDDEN), HIDDEN))
    vestigial = vestigial_features([knock_out(units, kind, draws=20) for kind in ("mean", "resample")])
    held_out, _ = bench(net, x[last], y[last], "2", Units(range(HIDDEN), HIDDEN))
    lines += ["", "## Vestigial units", "", str(vestigial)]
    if vestigial.names:
        pruned = prune(units, vestigial)
        lines += ["", str(pruned), "", str(measure_pruning(held_out, pruned, len(vestigial.names)))]  # type: ignore[arg-type]
    text = "\n".join(lines) + "\n"
    (HERE / "results" / "edit_out.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
