"""Colocalization against coloc 6.0.1 and hyprcoloc 0.0.2."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from mrinterp.coloc._abf import colocalize, finemap_abf
from mrinterp.coloc._conditional import TraitEffects, colocalize_conditional
from mrinterp.coloc._finemap import finemap_summary
from mrinterp.coloc._hyprcoloc import cluster_traits
from mrinterp.coloc._priors import Priors
from mrinterp.coloc._signals import colocalize_signals
from mrinterp.core.mrdata import MRData
from mrinterp.results._check import NotApplicable
from mrinterp.stats.bayes_factors.wakefield import (
    hypothesis_log_sums,
    hypothesis_posterior,
    log_bayes_factor,
    trait_sd_from_frequency,
    variance_from_frequency,
)
from tests.coloc.coloc_cases import (
    CLASSIC_COLOC,
    CLASSIC_HYPRCOLOC,
    SIMULATED_COLOC,
    SIMULATED_HYPRCOLOC,
    Case,
    hypotheses,
    load_case,
)

COLOC = SIMULATED_COLOC + CLASSIC_COLOC


def pair_data(case: Case, ld: bool = False) -> MRData:
    d = case.frame("data.csv")
    columns = [d[c].to_numpy()[None] for c in ("beta_1", "varbeta_1", "beta_2", "varbeta_2")]
    matrix = case.frame("ld_1.csv").to_numpy() if ld else None
    return MRData(
        beta_x=columns[0],
        se_x=np.sqrt(columns[1]),
        beta_y=columns[2],
        se_y=np.sqrt(columns[3]),
        exposures=("x",),
        outcomes=("y",),
        instruments=tuple(d.snp),
        ld=matrix,
    )


def run(case: Case, priors: Priors, sd: tuple[float | None, float | None] | None = None):
    m = case.meta
    sd = (m.get("sdY_1"), m.get("sdY_2")) if sd is None else sd
    return colocalize(
        pair_data(case),
        sd_x=sd[0],
        sd_y=sd[1],
        type_x=m["type_1"],
        type_y=m["type_2"],
        priors=priors,
        check_misfit=False,
    )


@pytest.mark.parametrize("entry", ["coloc.abf", "coloc.abf.p12_5e-6", "coloc.abf.p1_1e-3"])
@pytest.mark.parametrize("name", COLOC)
def test_abf_posteriors(name: str, entry: str) -> None:
    case = load_case(name)
    expected = case.results(entry)
    result = run(case, Priors(**expected["priors"]))
    np.testing.assert_allclose(result.posterior[0, 0, 0], hypotheses(expected)[0], rtol=1e-8)
    if "SNP.PP.H4" in expected:
        np.testing.assert_allclose(
            result.instrument_posterior(0, 0), expected["SNP.PP.H4"], rtol=1e-8, atol=1e-300
        )
        np.testing.assert_allclose(result.log_bf_x[0], expected["lABF_1"], rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(result.log_bf_y[0], expected["lABF_2"], rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", COLOC)
def test_abf_with_trait_sd_from_frequencies(name: str) -> None:
    case = load_case(name)
    d, expected = case.frame("data.csv"), case.results("coloc.abf.sdY_estimated")
    sd = tuple(
        float(
            trait_sd_from_frequency(
                d[f"varbeta_{i}"].to_numpy(), d[f"maf_{i}"].to_numpy(), case.meta[f"N_{i}"]
            )
        )
        for i in (1, 2)
    )
    np.testing.assert_allclose(sd, [expected["sdY_1"], expected["sdY_2"]], rtol=1e-10)
    np.testing.assert_allclose(run(case, Priors(), sd).posterior[0, 0, 0], hypotheses(expected)[0], rtol=1e-8)


@pytest.mark.parametrize("name", COLOC)
def test_abf_from_p_values(name: str) -> None:
    case = load_case(name)
    d, expected = case.frame("data.csv"), case.results("coloc.abf.pvalues")
    log_bf = []
    for i in (1, 2):
        z = d[f"beta_{i}"] / np.sqrt(d[f"varbeta_{i}"])
        z = norm.isf(norm.sf(np.abs(z)))
        variance = variance_from_frequency(d[f"maf_{i}"], case.meta[f"N_{i}"])
        log_bf.append(log_bayes_factor(z * np.sqrt(variance), variance, 0.15**2)[None])
    posterior = hypothesis_posterior(hypothesis_log_sums(*log_bf)[0], 1e-4, 1e-4, 1e-5)
    np.testing.assert_allclose(posterior[0, 0], hypotheses(expected)[0], rtol=1e-5)


@pytest.mark.parametrize("trait", [1, 2])
@pytest.mark.parametrize("name", COLOC)
def test_single_trait_fine_mapping(name: str, trait: int) -> None:
    case = load_case(name)
    d, m = case.frame("data.csv"), case.meta
    found = finemap_abf(
        d[f"beta_{trait}"],
        np.sqrt(d[f"varbeta_{trait}"]),
        types=m[f"type_{trait}"],
        sd=m.get(f"sdY_{trait}"),
        instruments=list(d.snp),
    )
    expected = np.array(case.results(f"coloc.finemap.abf.{trait}")["SNP.PP"])
    np.testing.assert_allclose(np.append(found["posterior"], found["none"].iloc[0]), expected, rtol=1e-8)


@pytest.mark.parametrize("name", COLOC)
def test_signals_of_susie(name: str) -> None:
    case = load_case(name)
    d = case.frame("data.csv")
    fits = []
    for i in (1, 2):
        ld = case.frame(f"ld_{i}.csv" if case.has(f"ld_{i}.csv") else "ld_1.csv").to_numpy()
        z = (d[f"beta_{i}"] / np.sqrt(d[f"varbeta_{i}"])).to_numpy()
        fit = finemap_summary(z, ld, case.meta[f"N_{i}"], instruments=list(d.snp), traits=[f"t{i}"])
        expected = case.results(f"coloc.runsusie.{i}")
        np.testing.assert_allclose(fit.pip[0], expected["pip"], atol=1e-6)
        sets = {tuple(np.array(s.positions) + 1) for s in fit.sets[0]}
        known = expected["cs"] if isinstance(expected["cs"], dict) else {}
        assert sets == {tuple(np.atleast_1d(members)) for members in known.values()}
        fits.append(fit)
    # the reference used the function's own default p12 of 5e-6
    result = colocalize_signals(*fits, priors=Priors(1e-4, 1e-4, 5e-6))
    expected = case.results("coloc.susie")
    if expected.get("no_credible_sets"):
        assert isinstance(result, NotApplicable)
        return
    np.testing.assert_allclose(
        result.posterior[:, :, 0].reshape(-1, 5), hypotheses(expected, ".abf"), rtol=1e-5
    )


@pytest.mark.parametrize("name", COLOC)
def test_signals_of_conditioning(name: str) -> None:
    case = load_case(name)
    d, traits = case.frame("data.csv"), []
    for i in (1, 2):
        ld = case.frame(f"ld_{i}.csv" if case.has(f"ld_{i}.csv") else "ld_1.csv").to_numpy()
        f = d[f"maf_{i}"].to_numpy()
        effects = d[f"beta_{i}"].to_numpy(), np.sqrt(d[f"varbeta_{i}"].to_numpy())
        traits.append(
            TraitEffects(
                f"t{i}",
                *effects,
                ld,
                case.meta[f"N_{i}"],
                case.meta[f"sdY_{i}"],
                tuple(d.snp),
                dose_variance=2 * f * (1 - f),
            )
        )
    result = colocalize_conditional(*traits, priors=Priors())
    expected = hypotheses(case.results("coloc.signals.cond"), ".abf")
    # coloc.signals counts an instrument paired with itself under H3; the paper's H3 leaves it out
    sums = result.log_sums.reshape(-1, 4).copy()
    sums[:, 2] = sums[:, 0] + sums[:, 1]
    with_itself = hypothesis_posterior(sums, 1e-4, 1e-4, 1e-5)
    assert len(with_itself) == len(expected)
    np.testing.assert_allclose(with_itself, expected, rtol=2e-3, atol=1e-4)
    first = result.posterior[0, 0, 0]
    np.testing.assert_allclose(first, hypotheses(case.results("coloc.abf"))[0], rtol=1e-8)


@pytest.mark.parametrize("name", SIMULATED_HYPRCOLOC + CLASSIC_HYPRCOLOC)
def test_hyprcoloc(name: str) -> None:
    case = load_case(name)
    d, traits = case.frame("data.csv"), case.meta["traits"]
    beta, se = (np.array([d[f"{c}_{t}"] for t in traits]) for c in ("beta", "se"))
    checked = 0
    for entry in case.entries.values():
        given, options = entry["args"], {}
        if "prior.12" in given:
            options["conditional"] = given["prior.12"] / (1e-4 + given["prior.12"])
        options |= {"conditional": given["prior.c"]} if "prior.c" in given else {}
        options |= {"uniform": True} if given.get("uniform.priors") else {}
        options |= {"branch": "alignment"} if given.get("bb.selection") == "align" else {}
        options |= {"branch_and_bound": False} if given.get("bb.alg") is False else {}
        if isinstance(given.get("reg.thresh"), float):
            options |= {
                "regional_threshold": given["reg.thresh"],
                "alignment_threshold": given["align.thresh"],
            }
        result = cluster_traits(beta, se, traits=traits, instruments=list(d.snp), **options)
        found, expected = result.to_frame(), entry["results"]["results"]
        assert found.traits.tolist() == np.atleast_1d(expected["traits"]).tolist(), entry["method_id"]
        assert found.candidate.tolist() == np.atleast_1d(expected["candidate_snp"]).tolist()
        for ours, theirs in (
            ("posterior", "posterior_prob"),
            ("regional", "regional_prob"),
            ("explained", "posterior_explained_by_snp"),
        ):
            np.testing.assert_allclose(
                found[ours], np.atleast_1d(expected[theirs]), atol=5.1e-5
            )  # printed to 4 decimals
        for cluster, scores in zip(result.clusters, entry["results"].get("snpscores", []), strict=False):
            np.testing.assert_allclose(cluster.instrument_posterior, scores, rtol=1e-6, atol=1e-12)
        checked += 1
    assert checked == len(case.entries) > 0
