"""z-scores that contradict the LD are said and withheld; one strong cause, few causes and very many do not contradict it."""

from __future__ import annotations

import json
import tracemalloc
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from mrinterp import coloc, run_mr, tables
from mrinterp.cli import cli
from mrinterp.coloc._misfit import one_cause_misfit
from mrinterp.core.ld import check_ld
from mrinterp.core.mrdata import MRData
from mrinterp.results import Coloc, NotApplicable
from mrinterp.stats import conditional_f_statistics
from mrinterp.stats.sparse.ld_mismatch import Spectrum, spectrum
from tests.coloc.coloc_simulation import Locus, simulate_locus, simulate_traits

J = 30
NAMES = [f"rs{j}" for j in range(J)]
FEW = 12  # data sets of each kind


def one_cause(
    rng: np.random.Generator, explained: float, runs: int, traits: int = FEW
) -> tuple[Locus, np.ndarray]:
    """z-scores (T, J) of traits of which one instrument explains a share."""
    locus = simulate_locus(rng, runs, J, 0.9, J)
    causes = [np.array([rng.integers(J)]) for _ in range(traits)]
    effect = np.sqrt(explained / (1 - explained))
    return locus, locus.z_scores(simulate_traits(rng, locus, causes, effect))


def third_swapped(z: np.ndarray) -> np.ndarray:
    return z * np.where(np.arange(z.shape[-1]) % 3 == 0, -1.0, 1.0)


def found_wrong(z: np.ndarray, ld: np.ndarray, n: float | None, dense: bool) -> float:
    sizes = None if n is None else np.full(len(z), float(n))
    return float(
        np.mean([why != "" for why in check_ld(z, ld, NAMES[: len(ld)], sizes, dense=dense).reasons])
    )


@pytest.mark.parametrize("explained", [0.05, 0.33, 0.5, 0.7])
@pytest.mark.parametrize("runs", [600, 4000])
def test_one_strong_cause_fits_any_sample_of_the_same_population(explained: float, runs: int) -> None:
    rng = np.random.default_rng(int(100 * explained) + runs)
    locus, z = one_cause(rng, explained, runs)
    for ld in (locus.ld, simulate_locus(rng, runs, J, 0.9, J).ld):  # of the same runs, and of others
        n = np.full(FEW, float(runs))
        assert (one_cause_misfit(z, ld, n=n).causes > 1).sum() <= 1
        assert found_wrong(z, ld, runs, dense=False) == 0.0
        assert found_wrong(z, ld, runs, dense=True) == 0.0


@pytest.mark.parametrize("dense", [False, True])
@pytest.mark.parametrize("n", [None, 4000])
def test_swapped_alleles_and_another_order_are_caught(dense: bool, n: float | None) -> None:
    rng = np.random.default_rng(7)
    locus, z = one_cause(rng, 0.05, 4000)
    order = rng.permutation(J)
    assert found_wrong(third_swapped(z), locus.ld, n, dense) > 0.9
    assert found_wrong(z, locus.ld[np.ix_(order, order)], n, dense) > 0.7
    many = locus.z_scores(rng.normal(0, 0.1, (FEW, J)) @ locus.x.T + rng.standard_normal((FEW, 4000)))
    assert found_wrong(third_swapped(many), locus.ld, n, dense) > 0.9
    if dense:
        assert found_wrong(many, locus.ld, n, dense) == 0.0


def test_neighbors_of_opposite_effect_are_no_swapped_alleles() -> None:
    rng = np.random.default_rng(8)
    locus = simulate_locus(rng, 2000, J, 0.8, J)
    y = rng.standard_normal((FEW, 2000))
    for t, j in enumerate(rng.integers(0, J - 1, FEW)):
        y[t] += 0.4 * (locus.x[:, j] - locus.x[:, j + 1])
    assert found_wrong(locus.z_scores(y), locus.ld, 2000, dense=False) <= 1 / FEW


def test_swapped_instruments_are_named() -> None:
    rng = np.random.default_rng(9)
    locus, z = one_cause(rng, 0.1, 4000, traits=1)
    top = int(np.abs(z[0]).argmax())
    wrong = sorted(j for j in (top - 4, top + 3) if 0 <= j < J)
    z[0, wrong] *= -1.0
    fit = coloc.finemap_summary(z, locus.ld, 4000, instruments=NAMES)
    assert fit.meta["ld_outliers"] == {"trait": [NAMES[j] for j in wrong]}
    assert fit.sets == ((),)
    assert "alleles swapped" in fit.status[0]
    assert str(fit).index("alleles swapped") < str(fit).index("credible sets for")
    answer = coloc.colocalize_signals(fit, fit)
    assert isinstance(answer, NotApplicable)
    assert "alleles swapped" in answer.reason


def locus_files(folder: Path, z: np.ndarray, ld: np.ndarray, n: float) -> tuple[Path, Path, Path]:
    r = z / np.sqrt(n - 2 + z * z)
    se = np.sqrt((1 - r * r) / (n - 2))
    wide = pd.DataFrame({"snp": NAMES})
    for t in (0, 1):
        wide[f"beta_{t + 1}"], wide[f"se_{t + 1}"] = r[t], se[t]
    wide.to_csv(folder / "pair.csv", index=False)
    pd.DataFrame({"snp": NAMES, "z": z[0]}).to_csv(folder / "z.csv", index=False)
    pd.DataFrame(ld, NAMES, NAMES).to_csv(folder / "ld.csv")
    return folder / "pair.csv", folder / "z.csv", folder / "ld.csv"


def run(*arguments: object) -> tuple[str, int]:
    result = CliRunner().invoke(cli, [str(a) for a in arguments])
    assert "Traceback" not in result.output
    return result.output, result.exit_code


def test_the_terminal_says_it_before_any_set(tmp_path: Path) -> None:
    rng, n = np.random.default_rng(10), 5000
    locus, z = one_cause(rng, 0.5, n, traits=1)
    z = np.repeat(z, 2, axis=0)
    pair, single, ld = locus_files(tmp_path, z, locus.ld, n)
    sd = ("--sd-1", 1, "--sd-2", 1)
    text, code = run("finemap", single, "--ld", ld, "--n", n)
    assert code == 0
    assert text.startswith("1 credible set ")
    text, code = run("finemap", single, "--ld", ld)
    assert code == 2
    assert text.startswith("trait: no credible sets: z up to")
    assert "--n" in text
    text, _ = run("coloc", pair, "--ld", ld, *sd, "--n-1", n, "--n-2", n)
    assert text.startswith("trait 1 and trait 2: the two share a cause (PP.H0")
    assert "Not checked" not in text
    text, _ = run("coloc", pair, "--ld", ld, *sd)
    assert "--n-1" in text
    assert "does not apply" not in text
    assert "Not checked" in run("coloc", pair, *sd)[0]
    locus_files(tmp_path, third_swapped(z), locus.ld, n)
    text, code = run("finemap", single, "--ld", ld, "--n", n)
    assert code == 2
    assert "no credible sets: the sign of z contradicts the LD" in text.splitlines()[0]
    text, _ = run("coloc", pair, "--ld", ld, *sd, "--n-1", n, "--n-2", n)
    assert text.startswith("Careful: ")
    assert text.count("contradicts the LD") >= 2  # of the pair, and instead of its signals
    out = json.loads(run("coloc", pair, "--ld", ld, *sd, "--n-1", n, "--n-2", n, "--json")[0])
    assert out["applies"] is False
    assert out["signals"] == []


@pytest.mark.parametrize("dense", [False, True])
def test_a_z_score_whose_square_overflows_is_tested_in_silence(dense: bool) -> None:
    ld = 0.5 ** np.abs(np.subtract.outer(np.arange(6), np.arange(6)))
    z = np.tile(ld[0] * 1e200, (2, 1))
    z[1, 3] *= -1.0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        reasons = check_ld(z, ld, list("abcdef"), dense=dense).reasons
    assert reasons[1]


@pytest.mark.parametrize("rows", [1, 2])
def test_one_instrument_has_no_verdict(rows: int, tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {"snp": ["a", "b"], "beta_1": [0.3, 0.1], "se_1": 0.02, "beta_2": [0.2, 0.1], "se_2": 0.02}
    )
    frame["locus"] = ["one", "two"]
    frame[:rows].to_csv(tmp_path / "t.csv", index=False)
    text, code = run("coloc", tmp_path / "t.csv", "--sd-1", 1, "--sd-2", 1)
    assert code == 2
    assert text.count("not applicable") == rows
    assert "share a cause" not in text
    data = tables.read_coloc_table(frame[:1]).to_mrdata()
    answer = coloc.colocalize(data, sd_x=1, sd_y=1)["trait 1", "trait 2", "one"]
    assert isinstance(answer, NotApplicable)


def test_a_verdict_needs_its_threshold_and_five_posteriors_are_printed() -> None:
    rng = np.random.default_rng(11)
    seen = set()
    for strength in np.linspace(1.0, 6.0, 40):
        beta = 0.1 * rng.standard_normal((2, 8))
        beta[:, 3] += 0.1 * strength
        data = tables.summary_from_arrays(beta[0], [0.1] * 8, beta[1], [0.1] * 8)
        found = coloc.colocalize(data, sd_x=1, sd_y=1, priors=coloc.HypothesisPriors())
        one = found.pair(0, 0)
        assert (one.verdict == "undecided") == (one.posterior.max() < 0.8)
        assert all(f"PP.H{h} {one.posterior[h]:.3g}" in str(one) for h in range(5))
        assert one.unchecked in str(one)
        seen.add(one.verdict)
    assert {"undecided", "the two share a cause"} <= seen


def test_python_and_the_terminal_have_the_same_priors(tmp_path: Path) -> None:
    rng = np.random.default_rng(12)
    locus, z = one_cause(rng, 0.01, 2000, traits=2)
    pair, _, _ = locus_files(tmp_path, z, locus.ld, 2000)
    out = json.loads(run("coloc", pair, "--sd-1", 1, "--sd-2", 1, "--json")[0])
    data = tables.read_coloc_table(pair).to_mrdata()
    assert [out[f"pp_h{h}"] for h in range(5)] == coloc.colocalize(data, sd_x=1, sd_y=1).posterior[
        0, 0, 0
    ].tolist()
    signals = coloc.Signals(("x",), z[:1] ** 2 / 2, np.sign(z[:1]))
    assert coloc.compare_signals(signals, signals, NAMES).priors.tolist() == [[1e-4, 1e-4, 1e-5]]


def correlated(seed: int, swap: bool, exposures: int = 1) -> MRData:
    """Effects of correlated instruments of which all act, LD of the same coding or of another."""
    rng, count, n = np.random.default_rng(seed), 10, 20_000
    r = 0.8 ** np.abs(np.subtract.outer(np.arange(count), np.arange(count)))
    half = np.linalg.cholesky(r)
    true = rng.normal(0.1, 0.05, (exposures, count))
    sign = third_swapped(np.ones(count)) if swap else np.ones(count)
    x = (true @ r + rng.standard_normal((exposures, count)) @ half.T / np.sqrt(n)) * sign
    y = (0.4 * true.sum(0) @ r + half @ rng.standard_normal(count) / np.sqrt(n)) * sign
    se = np.full((exposures, count), 1 / np.sqrt(n))
    return tables.summary_from_arrays(x, se, y[None], se[:1], ld=r)


@pytest.mark.parametrize("method", ["ivw_correlated", "egger_correlated"])
def test_correlated_instruments_need_their_own_ld(method: str) -> None:
    for seed in range(6):
        right = run_mr(correlated(seed, False), method)[0]
        assert right.status[0, 0] == "ok"
        wrong = run_mr(correlated(seed, True), method)[0]
        assert np.isnan(wrong.beta[0, 0])
        assert "contradicts the LD at instrument 1" in wrong.status[0, 0]


@pytest.mark.parametrize("method", ["mv_ivw", "mv_egger", "mv_gmm"])
def test_joint_estimates_need_their_own_ld(method: str) -> None:
    assert (run_mr(correlated(1, False, 2), method)[0].status == "ok").all()
    wrong = run_mr(correlated(1, True, 2), method)[0]
    assert np.isnan(wrong.beta).all()
    assert all("contradicts the LD" in word for word in wrong.status.ravel())


def test_conditional_f_counts_correlated_instruments_once() -> None:
    rng, count, n = np.random.default_rng(3), 12, 4000
    r = 0.7 ** np.abs(np.subtract.outer(np.arange(count), np.arange(count)))
    doses = rng.normal(size=(n, count)) @ np.linalg.cholesky(r).T
    doses -= doses.mean(0)
    effects = rng.normal(0, 0.06, (2, count))
    effects[1] += 0.8 * effects[0]
    traits = doses @ effects.T + rng.normal(size=(n, 2)) @ np.linalg.cholesky([[1, 0.5], [0.5, 1]]).T
    traits -= traits.mean(0)
    d = (doses**2).sum(0)
    beta = traits.T @ doses / d
    se = np.sqrt(((traits**2).sum(0)[:, None] - beta**2 * d) / (n - 2) / d)
    sigma = se.T[:, :, None] * np.corrcoef(traits.T) * se.T[:, None, :]
    ld = np.corrcoef(doses.T)

    def from_runs(k: int) -> float:  # Sanderson & Windmeijer's, from the runs themselves
        def fitted(v: np.ndarray) -> np.ndarray:
            return doses @ np.linalg.lstsq(doses, v, rcond=None)[0]

        x, other = traits[:, k], fitted(traits[:, 1 - k])
        rest = x - (other @ x) / (other @ other) * traits[:, 1 - k]
        f = fitted(rest)
        return float((f @ f) / (count - 1) / (((rest - f) @ (rest - f)) / (n - count - 1)))

    ours = conditional_f_statistics(beta, se, sigma, ld=ld)
    np.testing.assert_allclose(ours, [from_runs(0), from_runs(1)], rtol=0.03)
    alone = conditional_f_statistics(beta, se, sigma)
    assert np.abs(alone / ours - 1).max() > 0.1
    np.testing.assert_allclose(conditional_f_statistics(beta, se, sigma, ld=np.eye(count)), alone, rtol=1e-9)
    data = tables.summary_from_arrays(beta, se, beta[:1], se[:1], ld=ld)
    shown = run_mr(data, "mv_ivw")[0].details["conditional_f"][:, 0]
    np.testing.assert_allclose(shown, conditional_f_statistics(beta, se, ld=ld), rtol=1e-9)


def test_python_without_ld_raises_no_alarm_and_says_so() -> None:
    rng = np.random.default_rng(13)
    for explained in (0.02, 0.3):
        _, z = one_cause(rng, explained, 3000, traits=2)
        data = tables.summary_from_arrays(z[0] / 55, [1 / 55] * J, z[1] / 55, [1 / 55] * J)
        found = coloc.colocalize(data, sd_x=1, sd_y=1)
        assert isinstance(found, Coloc)
        assert found.status[0, 0, 0] == "ok"
        assert "only be tested with LD" in str(found["exposure", "outcome"])


@pytest.mark.parametrize("strength", [0.0, 3.0, 70.0])
@pytest.mark.parametrize("tells", ["frequencies", "other trait", "n and sd", "LD"])
def test_standard_errors_in_a_column_of_variances(strength: float, tells: str, tmp_path: Path) -> None:
    rng, n = np.random.default_rng(14), 5000
    locus = simulate_locus(rng, n, J, 0.9, J)
    f = np.full(J, 0.3) if tells == "LD" else rng.uniform(0.05, 0.5, J)
    se = np.sqrt(1 / (2 * n * f * (1 - f))) * rng.uniform(0.98, 1.02, (2, J))
    half = np.linalg.cholesky(locus.ld + 1e-9 * np.eye(J))
    beta = (strength * locus.ld[12] + rng.standard_normal((2, J)) @ half.T) * se
    right = pd.DataFrame({"snp": NAMES, "beta_1": beta[0], "beta_2": beta[1]})
    right["varbeta_1"], right["varbeta_2"] = se**2
    wrong = right.assign(varbeta_1=se[0])
    options: dict[str, object] = {}
    if tells == "frequencies":
        options["--n-1"] = n
        right, wrong = right.assign(maf_1=f), wrong.assign(maf_1=f, varbeta_2=se[1])
    elif tells == "n and sd":
        options["--n-1"] = n
        wrong = wrong.assign(varbeta_2=se[1])
    elif tells == "LD":
        options["--ld"] = tmp_path / "ld.csv"
        pd.DataFrame(locus.ld, NAMES, NAMES).to_csv(tmp_path / "ld.csv")
        wrong = wrong.assign(varbeta_2=se[1])
    given = ["--sd-1", 1, "--sd-2", 1, *(part for pair in options.items() for part in pair)]
    for frame, bad in ((right, False), (wrong, True)):
        frame.to_csv(tmp_path / "t.csv", index=False)
        text, code = run("coloc", tmp_path / "t.csv", *given)
        assert ("standard errors" in text) == bad, text
        assert code == (2 if bad and tells != "LD" else code)


def test_heidi_and_conditional_signals_are_guarded_too() -> None:
    rng, n = np.random.default_rng(15), 4000
    locus, z = one_cause(rng, 0.1, n, traits=1)
    se = np.full((1, J), 1 / np.sqrt(n))
    for swap in (False, True):
        beta = (third_swapped(z) if swap else z) * se
        data = tables.summary_from_arrays(beta, se, beta, se, ld=locus.ld)
        assert isinstance(coloc.heidi(data, "exposure", "outcome"), NotApplicable) == swap
        trait = coloc.TraitEffects("t", beta[0], se[0], locus.ld, n, 1.0)
        status = coloc.colocalize_conditional(trait, trait).status
        assert ("contradicts the LD" in status[0, 0, 0] or "does not belong" in status[0, 0, 0]) == swap


def test_one_matrix_is_decomposed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nearly all of the time that a large locus takes: 5,000 instruments with two decompositions take two minutes."""
    decomposed: list[int] = []

    def counted(ld: np.ndarray) -> Spectrum:
        decomposed.append(len(ld))
        return spectrum(ld)

    for room in ("core.ld", "coloc._misfit", "coloc._susie_fit"):
        monkeypatch.setattr(f"mrinterp.{room}.spectrum", counted)
    data = correlated(0, False)
    assert data.ld is not None
    size = len(data.instruments)
    coloc.finemap_summary(data.beta_x / data.se_x, data.ld)
    assert decomposed == [size]
    coloc.colocalize(data, sd_x=1, sd_y=1)
    assert decomposed == [size] * 2


def test_fine_mapping_holds_three_matrices_and_leaves_the_given_one_alone() -> None:
    J = 700
    ld = 0.9 ** np.abs(np.subtract.outer(np.arange(J), np.arange(J)))
    z = np.random.default_rng(0).standard_normal(J) + 12 * ld[300]
    coloc.finemap_summary(z[:50], ld[:50, :50], 8000)
    given = ld.copy()
    tracemalloc.start()
    found = coloc.finemap_summary(z, ld, 8000)
    more = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    np.testing.assert_array_equal(ld, given)
    assert 1 + more / ld.nbytes < 3.2
    ld[3, 9] += 1e-9  # not symmetric by rounding: made so in a copy
    given = ld.copy()
    again = coloc.finemap_summary(z, ld, 8000)
    np.testing.assert_array_equal(ld, given)
    np.testing.assert_allclose(again.pip, found.pip, atol=1e-6)
