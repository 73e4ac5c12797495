"""Inputs that are no text: images and tables perturbed, a small network read, effects estimated."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
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


P, K, J = 12, 3, 4


def _runs() -> dict[str, Any]:
    rng = np.random.default_rng(0)
    prompt, clean = np.repeat(np.arange(P), K + 1), np.tile(np.arange(K + 1) == 0, P)
    doses = rng.integers(0, 2, (len(prompt), J)) * (~clean)[:, None]
    features = doses @ rng.standard_normal((J, 2)) + rng.standard_normal((len(prompt), 2))
    return {
        "doses": doses,
        "features": features,
        "outcomes": features[:, 0] + rng.standard_normal(len(prompt)),
        "prompt": prompt,
        "family": prompt,
        "clean": clean,
    }


def test_names_of_columns_are_kept() -> None:
    given = _runs()
    panel = mrinterp.from_arrays(
        **given
        | {
            "features": pd.DataFrame(given["features"], columns=["heat", 7]),
            "doses": pd.DataFrame(given["doses"], columns=list("wxyz")),
            "outcomes": pd.Series(given["outcomes"], name="loss"),
            "bypass": pd.DataFrame(given["features"] ** 2, columns=["p", "q"]),
        }
    )
    assert panel.feature_names == ("heat", "7")
    assert panel.outcome_names == ("loss",)
    assert panel.bypass_names == ("p", "q")
    assert list(panel.instruments["instrument"]) == list("wxyz")
    named = mrinterp.from_arrays(
        **given | {"features": pd.DataFrame(given["features"])}, feature_names=["a", "b"]
    )
    assert named.feature_names == ("a", "b")


def _masked(a: Any) -> Any:
    hidden = np.zeros(a.shape, bool)
    hidden[3] = True
    return np.ma.masked_array(a, hidden)


WRONG: dict[str, tuple[Any, str]] = {
    "masked": (lambda g: {"features": _masked(g["features"])}, "features, row 3, column 0: masked"),
    "masked prompts": (lambda g: {"prompt": _masked(g["prompt"])}, "prompt, row 3: masked"),
    "masked clean": (lambda g: {"clean": _masked(g["clean"])}, "clean, row 3: masked"),
    "complex": (lambda g: {"outcomes": g["outcomes"] + 0j}, "outcomes: complex numbers"),
    "dates": (lambda g: {"doses": np.datetime64("2020-01-01") + g["doses"]}, "doses: dates"),
    "spans": (lambda g: {"doses": g["doses"].astype("m8[s]")}, "doses: time spans"),
    "text": (lambda g: {"doses": g["doses"].astype(str)}, "doses: text"),
    "a word among numbers": (
        lambda g: {"outcomes": [*g["outcomes"][:-1].tolist(), None]},
        "outcomes, row 47: missing",
    ),
    "other rows": (
        lambda g: {"features": pd.DataFrame(g["features"])[::-1], "outcomes": pd.Series(g["outcomes"])},
        "outcomes, row 0: labelled 0, where features has 47",
    ),
    "truth as text": (lambda g: {"clean": g["clean"].astype(str)}, "clean, row 0: 'True'"),
    "truth missing": (lambda g: {"clean": np.where(g["clean"], 1.0, np.nan)}, "clean, row 1: missing"),
    "truth NA": (lambda g: {"clean": pd.array([True, None] * 24, dtype="boolean")}, "clean, row 1: missing"),
    "truth 2": (lambda g: {"clean": g["clean"] * 2}, "clean, row 0: 2"),
    "a negative rank": (lambda g: {"rank": -1}, "rank: -1"),
    "too large a rank": (lambda g: {"rank": 3}, "rank: 3, and there are 0"),
    "half a rank": (lambda g: {"rank": 0.5}, "rank: 0.5"),
    "a name twice": (lambda g: {"instruments": ["a", "a", "b", "c"]}, "instruments: 'a' appears twice"),
    "a column twice": (
        lambda g: {"features": pd.DataFrame(g["features"], columns=["a", "a"])},
        "feature_names: 'a' appears twice",
    ),
    "one name": (lambda g: {"feature_names": "ab"}, "feature_names: 'ab'"),
    "nothing": (lambda g: {"features": None}, "features"),
    "ragged": (lambda g: {"features": [[1, 2], [3]]}, "features: no array of numbers"),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_is_no_array_of_numbers_is_refused(what: str) -> None:
    make, message = WRONG[what]
    with pytest.raises(InputError) as refused:
        mrinterp.from_arrays(**{**_runs(), **make(_runs())})
    assert message in str(refused.value)


@pytest.mark.parametrize(
    "clean",
    [lambda c: c.astype(float), lambda c: c.astype(int).tolist(), lambda c: np.array(list(c), object)],
)
def test_truth_values_in_other_dress(clean: Any) -> None:
    given = _runs()
    panel = mrinterp.from_arrays(**given | {"clean": clean(given["clean"])})
    assert (panel.runs["kind"] == "clean").to_numpy().tolist() == given["clean"].tolist()


def test_pandas_and_tensors_are_read_by_their_values() -> None:
    import torch

    given = _runs()
    plain = mrinterp.from_arrays(**given)
    for features in (
        torch.tensor(given["features"]),
        pd.DataFrame(given["features"], index=np.arange(48) * 2),
        pd.DataFrame(given["features"]).astype(object),
        np.ma.masked_array(given["features"]),
    ):
        np.testing.assert_array_equal(
            mrinterp.from_arrays(**given | {"features": features}).features, plain.features
        )


def _summary() -> mrinterp.MRData:
    return mrinterp.scan.marginal_scan(mrinterp.from_arrays(**_runs())).to_mrdata()


DOORS: dict[str, tuple[Any, str]] = {
    "a masked effect is missing": (
        lambda: (
            mrinterp.tables.summary_from_arrays(
                np.ma.masked_array([0.1, 0.2, 0.3], [0, 1, 0]), [0.01] * 3, [0.1, 0.2, 0.3], [0.1] * 3
            ).beta_x
        ),
        "[[0.1 nan 0.3]]",
    ),
    "complex effects": (
        lambda: mrinterp.tables.summary_from_arrays([0.1, 1j], [0.01] * 2, [0.1] * 2, [0.1] * 2),
        "beta_x: complex numbers",
    ),
    "series of other rows": (
        lambda: mrinterp.tables.summary_from_arrays(
            pd.Series([0.1, 0.2], index=["a", "b"]),
            [0.01] * 2,
            pd.Series([0.1, 0.2], index=["b", "a"]),
            [0.1] * 2,
        ),
        "beta_y, row 0: labelled 'b'",
    ),
    "instruments twice": (
        lambda: replace(_summary(), instruments=("z",) * J),
        "MRData instruments: 'z' appears",
    ),
    "asymmetric": (
        lambda: replace(_summary(), ld=np.triu(np.full((J, J), 0.1)) + 0.9 * np.eye(J)),
        "not symmetric",
    ),
    "a diagonal of 4": (lambda: replace(_summary(), ld=4 * np.eye(J)), "diagonal of 'z0': 4 instead of 1"),
    "a design": (lambda: replace(_summary(), design="pair"), "MRData design: 'pair'"),
    "sample sizes": (lambda: replace(_summary(), n_x=[5]), "MRData n_x: shape (1,)"),
    "a mask of places": (lambda: _summary().select(instruments=[1, 2]), "instruments, row 1"),  # type: ignore[arg-type]
    "an exposure": (lambda: _summary().select(exposures=["x9"]), "exposures: 'x9'"),
    "a level": (lambda: mrinterp.run_mr(_summary(), "ivw", level=95), "level: 95. Give 0.95"),
    "methods": (lambda: mrinterp.run_mr(_summary(), [1]), "methods: [1]"),  # type: ignore[list-item]
    "options": (lambda: mrinterp.run_mr(_summary(), "ivw", {"ivw": 1}), "options"),  # type: ignore[dict-item]
    "draws": (lambda: mrinterp.run_mr(_summary(), "presso", {"presso": {"draws": 10**9}}), "1,000,000"),
    "no draws": (
        lambda: mrinterp.run_mr(_summary(), "presso", {"presso": {"draws": 0}}),
        "'draws' of 'presso'",
    ),
    "a bootstrap": (
        lambda: mrinterp.mr.within(_panel(), covariance="bootstrap", draws=10**9),
        "draws: 1000000000",
    ),
    "a negative rank": (lambda: mrinterp.mr.within(_panel(), rank=-1), "rank: -1"),
    "no list of ranks": (lambda: mrinterp.mr.rank_path(_panel(), 0), "ranks: 0"),  # type: ignore[arg-type]
    "no folds": (lambda: mrinterp.mr.within_partialled(_panel(), folds=0), "folds: 0"),
    "summaries for runs": (lambda: mrinterp.mr.within(_summary()), "panel: MRData object"),  # type: ignore[arg-type]
    "an array for runs": (lambda: mrinterp.mr.tsls(np.eye(3)), "panel: ndarray object"),  # type: ignore[arg-type]
    "summaries to scan": (lambda: mrinterp.scan.marginal_scan(_summary()), "panel: MRData"),  # type: ignore[arg-type]
    "runs for summaries": (lambda: mrinterp.run_mr(_panel(), "ivw"), "works on summary statistics"),
    "runs for defaults": (lambda: mrinterp.mr.standard_methods(_panel()), "data: Panel object"),  # type: ignore[arg-type]
    "one name of a cell": (lambda: mrinterp.mr.within(_panel())["x0"], "not 2 names"),  # type: ignore[index]
    "another split": (lambda: _panel().select("estimatoin"), "Did you mean 'estimation'"),
    "another kind": (lambda: mrinterp.scan.marginal_scan(_panel(), kind="noise"), "kind: 'noise'"),
    "a candidate": (lambda: mrinterp.scan.marginal_scan(_panel(), candidates=["x9"]), "candidates: 'x9'"),
    "a fine grid": (
        lambda: mrinterp.run_mr(
            _summary(), "conmix", {"conmix": {"lower": 0.0, "upper": 1.0, "step": 1e-12}}
        ),
        "at most 1,000,000 steps",
    ),
}


def _panel() -> mrinterp.Panel:
    return mrinterp.from_arrays(**_runs())


@pytest.mark.parametrize("what", DOORS)
def test_doors_of_estimates(what: str) -> None:
    ask, message = DOORS[what]
    try:
        said = str(ask())
    except InputError as refused:
        said = str(refused)
    assert message in said


def test_rows_of_clean_runs_stay_whole_numbers() -> None:
    import torch

    from mrinterp.features import Units
    from mrinterp.models import array_network
    from mrinterp.outcomes import Logit, LogitDifference
    from mrinterp.scan import read_arrays

    net = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.Tanh(), torch.nn.Linear(3, 2)).eval()
    network = array_network(net, "1", np.eye(4), Logit(0))
    for clean in (np.arange(4.0), np.ones(4, bool), np.array(list("0123"))):
        with pytest.raises(InputError, match="clean: entries of type"):
            read_arrays(network, Units([0], 3), clean=clean)
    with pytest.raises(InputError, match="network: Sequential object"):
        read_arrays(net, Units([0], 3), clean=np.arange(4))  # type: ignore[arg-type]
    for made in (lambda: Logit(1.0), lambda: Logit(True), lambda: LogitDifference(0, 1.5)):  # type: ignore[arg-type]
        with pytest.raises(InputError, match="whole number"):
            made()
    for units in ([0.5], [True], ["0"]):
        with pytest.raises(InputError, match="whole numbers"):
            Units(units, 3)  # type: ignore[arg-type]
