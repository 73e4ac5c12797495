"""Inputs that are no text: images and tables perturbed, a small network read, effects estimated."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import mrinterp
from mrinterp.core.errors import InputError
from mrinterp.mr._runs.run_iv import tsls
from mrinterp.mr._runs.within import within
from mrinterp.perturbations._columns import ColumnNoise, ColumnResampling
from mrinterp.perturbations._images import Occlusion, PixelNoise
from mrinterp.perturbations._perturb import perturb

IMAGES = np.random.default_rng(0).random((6, 3, 5, 7)) + 1
TABLE = np.random.default_rng(1).standard_normal((20, 4)) * [1, 10, 0.1, 3] + 5


@pytest.mark.parametrize("images", [IMAGES, IMAGES[:, 0]], ids=["channels", "plain"])
def test_occlusion_covers_what_the_dose_says(images: Any) -> None:
    made = perturb(images, [Occlusion(3, 0.3, fill=-1)], 5, placebos=0)
    assert made.instruments == tuple(f"occlusion:r{r}c{c}" for r in range(2) for c in range(3))
    for run in made.rows("occlusion"):
        original, covered = images[made.prompt[run]], made.doses[run].reshape(2, 3)
        for r in range(5):
            for c in range(7):
                expected = -1 if covered[r // 3, c // 3] else original[..., r, c]
                np.testing.assert_array_equal(made.inputs[run][..., r, c], expected)
    perturbed = made.kind == "occlusion"
    assert (made.doses[perturbed].sum(axis=1) >= 1).all()
    np.testing.assert_array_equal(made.inputs[~perturbed], images)
    assert not made.doses[~perturbed].any()


def test_pixel_noise_is_linear_in_its_doses() -> None:
    made = perturb(np.tile(IMAGES[:1], (400, 1, 1, 1)), [PixelNoise(0.2, patterns=12)], 3, placebos=0)
    run = made.kind == "pixel_noise"
    change = (made.inputs - IMAGES[0]).reshape(len(made.inputs), -1)
    fit, *_ = np.linalg.lstsq(made.doses[run], change[run], rcond=None)
    np.testing.assert_allclose(made.doses[run] @ fit, change[run], atol=1e-10)
    # 12 fixed patterns: the realized spread varies around the asked one.
    assert change[run].std() == pytest.approx(0.2, rel=0.15)
    assert made.doses[run].std() == pytest.approx(1, abs=0.03)


def test_columns_are_resampled_from_other_rows() -> None:
    made = perturb(TABLE, [ColumnResampling(0.4)], 30)
    run = made.rows("resampling")[len(TABLE) :]
    before = TABLE[made.prompt[run]]
    change = made.inputs[run] - before
    np.testing.assert_allclose(made.doses[run][:, :4], change / TABLE.std(axis=0))
    for j in range(4):
        assert np.isin(made.inputs[run, j], TABLE[:, j]).all()
    share = (change != 0).mean()
    assert 0.36 < share < 0.52
    assert (change != 0).any(axis=1).all()


def test_column_noise_is_its_dose() -> None:
    made = perturb(TABLE, [ColumnNoise(0.5, tuple("abcd"))], 100)
    assert made.instruments == ("noise:a", "noise:b", "noise:c", "noise:d", "placebo:0")
    run = made.kind == "noise"
    np.testing.assert_allclose(
        made.inputs[run] - TABLE[made.prompt[run]], made.doses[run][:, :4] * TABLE.std(axis=0)
    )
    assert made.doses[run][:, :4].std() == pytest.approx(0.5, abs=0.02)


def test_design_is_seeded_and_kinds_keep_their_streams() -> None:
    kinds: list[Any] = [ColumnResampling(), ColumnNoise()]
    a, b, c = perturb(TABLE, kinds, 3), perturb(TABLE, kinds, 3), perturb(TABLE, kinds, 3, seed=1)
    assert a.inputs.tobytes() == b.inputs.tobytes() != c.inputs.tobytes()
    alone = perturb(TABLE, kinds[:1], 3)
    np.testing.assert_array_equal(alone.inputs, a.inputs[a.rows("resampling")])
    assert set(a.doses[a.kind != "clean"][:, -1]) == {0, 1}
    family = np.arange(20) // 4
    assert (perturb(TABLE, kinds, 3, family=family).family == family[a.prompt]).all()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: perturb(IMAGES, [Occlusion(6)], 1), "6 pixels on images of 5 x 7"),
        (lambda: perturb(TABLE, [Occlusion(1)], 1), r"one image of shape \(4,\)"),
        (lambda: perturb(IMAGES, [Occlusion(2, 1.5)], 1), r"Occlusion.probability: 1.5"),
        (lambda: perturb(IMAGES, [PixelNoise(0)], 1), "positive scale"),
        (lambda: perturb(IMAGES, [ColumnNoise()], 1), "Give a table"),
        (lambda: perturb(TABLE, [ColumnNoise(names=("a", "b"))], 1), "2 distinct names for 4 columns"),
        (lambda: perturb(TABLE * [1, 0, 1, 1], [ColumnNoise()], 1), "column 1: constant"),
        (lambda: perturb(TABLE, [ColumnNoise(), ColumnNoise()], 1), "no kind twice"),
        (
            lambda: perturb(np.where(TABLE[3, 2] == TABLE, np.nan, TABLE), [ColumnNoise()], 1),
            "row 3: a value that is not finite",
        ),
        (lambda: perturb(TABLE, [ColumnNoise()], 0), "at least one"),
        (lambda: perturb(TABLE, [ColumnNoise()], 1, family=[1, 2]), "family"),
        (lambda: perturb(TABLE, [ColumnNoise()], 1).rows("noisy"), "Kinds: clean, noise"),
    ],
)
def test_bad_input_is_refused(make: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make()


def _train(x: Any, y: Any, hidden: int, classes: int, steps: int) -> Any:
    """Two hidden layers, trained by Adam on all rows at once."""
    import torch

    torch.manual_seed(0)
    net = torch.nn.Sequential(
        torch.nn.Flatten(),
        torch.nn.Linear(x[0].size, 2 * hidden),
        torch.nn.ReLU(),
        torch.nn.Linear(2 * hidden, hidden),
        torch.nn.Tanh(),
        torch.nn.Linear(hidden, classes),
    )
    inputs, labels = torch.from_numpy(x).float(), torch.from_numpy(y).long()
    optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
    for _ in range(steps):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(net(inputs), labels).backward()
        optimizer.step()
    return net.eval().requires_grad_(False)


def _read(net: Any, made: Any, outcome: Any, site: str) -> tuple[Any, Any]:
    """Every unit of a site, and the outcome, of every run."""
    import torch

    from mrinterp.adapters._torch_module import TorchAdapter
    from mrinterp.features._units import WholeLayer
    from mrinterp.outcomes._outcome import outcome_values

    inputs = torch.from_numpy(made.inputs).float()
    run = TorchAdapter(net).run({"input": inputs}, read=[site])
    h = run.activations[site]
    return WholeLayer(h.shape[1]).read(h).numpy(), outcome_values(
        outcome, run.output, torch.ones(len(inputs), 1)
    )


DATA = {
    "digits": ([Occlusion(2), PixelNoise(0.15, patterns=40)], 10, (3, 8), 120),
    "breast cancer": ([ColumnResampling(0.2), ColumnNoise(0.5)], 2, (1, 0), 30),
}


@pytest.fixture(scope="module", params=sorted(DATA))
def studied(request: pytest.FixtureRequest) -> Any:
    from sklearn.datasets import load_breast_cancer, load_digits

    from mrinterp.outcomes._logit_outcomes import LogitDifference

    perturbations, classes, (a, b), steps = DATA[request.param]
    if request.param == "digits":
        digits = load_digits()
        x, y = digits.images / 16, digits.target
    else:
        x, y = load_breast_cancer(return_X_y=True)
        x = (x - x.mean(axis=0)) / x.std(axis=0)
    net = _train(x, y, 8, classes, steps)
    made = perturb(x[:150], perturbations, 4, seed=2)
    features, outcome = _read(net, made, LogitDifference(a, b), "4")
    truth = (net[5].weight[a] - net[5].weight[b]).double().numpy()
    accuracy = (net(_tensor(x)).argmax(1).numpy() == y).mean()
    return made, features, outcome, truth, accuracy


def _tensor(x: Any) -> Any:
    import torch

    return torch.from_numpy(x).float()


def test_the_network_has_learned_and_every_kind_moves_it(studied: Any) -> None:
    made, features, outcome, _, accuracy = studied
    assert accuracy > 0.95
    for kind in set(made.kind) - {"clean"}:
        run = made.kind == kind
        moved = np.abs(features[run] - features[made.prompt[run]]).max(axis=1)
        assert (moved > 1e-4).mean() > 0.9


def test_effects_of_hidden_units_are_their_weights_under_every_kind(studied: Any) -> None:
    """The last hidden layer is a cut, and the outcome is linear in it: its weights are the truth."""
    made, features, outcome, truth, _ = studied
    for kind in sorted(set(made.kind) - {"clean"}):
        rows = made.rows(kind)
        panel = mrinterp.from_arrays(
            features=features[rows, :3],
            bypass=features[rows, 3:],
            outcomes=outcome[rows],
            **made.columns(rows),
        )
        np.testing.assert_allclose(within(panel).beta[:, 0], truth[:3], rtol=1e-3, atol=1e-3)
        alone = within(panel, rank=0).beta[:, 0]
        assert np.abs(alone - truth[:3]).max() > 0.05, "without the bypass the answer is another one"


def test_two_stage_least_squares_on_the_doses_agrees(studied: Any) -> None:
    made, features, outcome, truth, _ = studied
    for kind in sorted(set(made.kind) - {"clean"}):
        rows = made.rows(kind)
        panel = mrinterp.from_arrays(features=features[rows], outcomes=outcome[rows], **made.columns(rows))
        np.testing.assert_allclose(tsls(panel).beta[:, 0], truth, rtol=5e-3, atol=5e-3)
