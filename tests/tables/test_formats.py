"""Tables as programs and archives write them: the same effects come out of each, on the right allele, and it is said."""

from __future__ import annotations

import gzip
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm

from mrinterp import run_mr, tables
from mrinterp.core.errors import InputError

J = 24
PAIRS = ["AG", "CT", "GA", "TC", "AC", "CA", "GT", "TG", "AT", "CG"]


def truth(seed: int) -> pd.DataFrame:
    """Effects of J alleles (ea over oa) on an exposure, frequencies far from .5; the outcome's are half as large."""
    rng = np.random.default_rng(seed)
    pairs = [PAIRS[k % len(PAIRS)] for k in range(J)]
    return pd.DataFrame(
        {
            "snp": [f"rs{100 + k}" for k in range(J)],
            "chr": 1 + np.arange(J) // 12,
            "pos": 1_000_000 * (1 + np.arange(J)),
            "ea": [p[0] for p in pairs],
            "oa": [p[1] for p in pairs],
            "eaf": rng.uniform(0.1, 0.35, J),
            "b": rng.choice([-1, 1], J) * rng.uniform(0.06, 0.14, J),
            "se": rng.uniform(0.004, 0.006, J),
        }
    )


def outcome(seed: int) -> pd.DataFrame:
    """Half the exposure's effects, every other row written for the other allele."""
    t = truth(seed)
    t["b"] /= 2
    odd = np.random.default_rng(seed + 1).random(J) < 0.5
    t.loc[odd, ["ea", "oa"]] = t.loc[odd, ["oa", "ea"]].to_numpy()
    t.loc[odd, "b"] *= -1
    t.loc[odd, "eaf"] = 1 - t.loc[odd, "eaf"]
    t["p"] = 2 * norm.sf(np.abs(t["b"] / t["se"]))
    t["log10p"] = -np.log10(t["p"])
    t["or"] = np.exp(t["b"])
    t["l95"], t["u95"] = np.exp(t["b"] - 1.959964 * t["se"]), np.exp(t["b"] + 1.959964 * t["se"])
    t["z"] = t["b"] / t["se"]
    t["n"] = 1 / (2 * t["eaf"] * (1 - t["eaf"]) * t["se"] ** 2) - t["z"] ** 2
    return t


def named(t: pd.DataFrame, **columns: object) -> pd.DataFrame:
    return pd.DataFrame({k: t[v] if isinstance(v, str) and v in t else v for k, v in columns.items()})


def spelled(t: pd.DataFrame, pairs: str) -> pd.DataFrame:
    """Columns as "theirs=ours" separated by blanks."""
    return pd.DataFrame({a: t[b] for a, b in (p.rsplit("=", 1) for p in pairs.split())})


def metal(t: pd.DataFrame) -> pd.DataFrame:
    out = spelled(t, "MarkerName=snp Allele1=ea Allele2=oa Freq1=eaf Effect=b StdErr=se P-value=p")
    return out.assign(
        Allele1=out["Allele1"].str.lower(), Allele2=out["Allele2"].str.lower(), Direction="+-?+"
    )


def saige(t: pd.DataFrame) -> pd.DataFrame:
    out = spelled(
        t, "CHR=chr POS=pos MarkerID=snp Allele1=oa Allele2=ea AF_Allele2=eaf BETA=b SE=se p.value=p N=n"
    )
    return out.assign(Tstat=-t["z"], var=1.0)


def plink2(t: pd.DataFrame, effect: str, rng: random.Random) -> pd.DataFrame:
    alt = [rng.random() < 0.5 for _ in range(J)]
    out = spelled(t, "#CHROM=chr POS=pos ID=snp")
    out["REF"], out["ALT"] = np.where(alt, t["oa"], t["ea"]), np.where(alt, t["ea"], t["oa"])
    out["A1"], out["A1_FREQ"], out["TEST"], out["OBS_CT"] = t["ea"], t["eaf"], "ADD", 1000
    more = "BETA=b SE=se T_STAT=z P=p" if effect == "BETA" else "OR=or LOG(OR)_SE=se Z_STAT=z P=p"
    out = pd.concat([out, spelled(t, more)], axis=1)
    noise = out.assign(TEST="AGE", **{out.columns[8]: 1.01})
    return pd.concat([out, noise]).sort_index()


def finngen(t: pd.DataFrame) -> pd.DataFrame:
    out = spelled(
        t, "#chrom=chr pos=pos ref=oa alt=ea rsids=snp pval=p mlogp=log10p beta=b sebeta=se af_alt=eaf"
    )
    return out.assign(rsids=out["rsids"] + ",rs9" + out["rsids"].str[2:])


def harmonised(t: pd.DataFrame) -> pd.DataFrame:
    """The archive's harmonised file: its own columns beside the submitted ones, which are about the other allele."""
    out = spelled(t, "hm_rsid=snp hm_chrom=chr hm_pos=pos hm_other_allele=oa hm_effect_allele=ea hm_beta=b"
                     " hm_effect_allele_frequency=eaf effect_allele=oa other_allele=ea standard_error=se p_value=p")  # fmt: skip
    return out.assign(
        beta=-t["b"], effect_allele_frequency=1 - t["eaf"], hm_odds_ratio="NA", odds_ratio="NA", hm_code=10
    )


def catalog_raw(t: pd.DataFrame) -> pd.DataFrame:
    out = spelled(t, "variant_id=snp p_value=p chromosome=chr base_pair_location=pos effect_allele=ea other_allele=oa"
                     " effect_allele_frequency=eaf odds_ratio=or ci_lower=l95 ci_upper=u95")  # fmt: skip
    return out.assign(beta="NA", standard_error="NA")


def gwas_vcf(t: pd.DataFrame) -> pd.DataFrame:
    out = spelled(t, "#CHROM=chr POS=pos ID=snp REF=oa ALT=ea").assign(
        QUAL=".", FILTER="PASS", INFO=".", FORMAT="ES:SE:LP:AF:SS:ID"
    )
    cells = [f"{r.b!r}:{r.se!r}:{r.log10p!r}:{r.eaf!r}:{r.n:.0f}:{r.snp}" for r in t.itertuples()]
    return out.assign(**{"ieu-a-7": cells})


FORMATS: dict[str, Callable[[pd.DataFrame, random.Random], pd.DataFrame]] = {
    "METAL": lambda t, _: metal(t),
    "METAL p": lambda t, _: metal(t).drop(columns=["StdErr", "Freq1"]).iloc[:, :5],
    "BOLT-LMM": lambda t, _: spelled(
        t, "SNP=snp CHR=chr BP=pos ALLELE1=ea ALLELE0=oa A1FREQ=eaf BETA=b SE=se P_BOLT_LMM_INF=p"
    ).assign(GENPOS=0.5, F_MISS=0.0, CHISQ_LINREG=1.0, P_LINREG=0.9),
    "REGENIE": lambda t, _: spelled(
        t, "CHROM=chr GENPOS=pos ID=snp ALLELE0=oa ALLELE1=ea A1FREQ=eaf N=n BETA=b SE=se LOG10P=log10p"
    ).assign(TEST="ADD", EXTRA="NA"),
    "REGENIE p": lambda t, _: spelled(t, "ID=snp ALLELE0=oa ALLELE1=ea A1FREQ=eaf BETA=b LOG10P=log10p"),
    "SAIGE short": lambda t, _: saige(t).drop(columns=["AF_Allele2", "Tstat", "var", "p.value"]),
    "SAIGE": lambda t, _: saige(t),
    "PLINK 1": lambda t, _: spelled(t, "CHR=chr SNP=snp BP=pos A1=ea A2=oa BETA=b STAT=z P=p").assign(NMISS=900),
    "PLINK 1 OR": lambda t, _: spelled(t, "CHR=chr SNP=snp BP=pos A1=ea A2=oa OR=or SE=se L95=l95 U95=u95 P=p"),
    "PLINK 2": lambda t, rng: plink2(t, "BETA", rng),
    "PLINK 2 OR": lambda t, rng: plink2(t, "OR", rng),
    "FinnGen": lambda t, _: finngen(t),
    "GWAS Catalog harmonised": lambda t, _: harmonised(t),
    "GWAS Catalog": lambda t, _: catalog_raw(t),
    "GWAS-SSF": lambda t, _: spelled(
        t, "chromosome=chr base_pair_location=pos effect_allele=ea other_allele=oa beta=b standard_error=se"
           " effect_allele_frequency=eaf neg_log_10_p_value=log10p rsid=snp"
    ),
    "VCF-like": lambda t, _: spelled(t, "#CHROM=chr POS=pos ID=snp REF=oa ALT=ea ALT_FREQ=eaf ES=b SE=se"),
    "GWAS-VCF": lambda t, _: gwas_vcf(t),
    "camel case": lambda t, _: spelled(
        t, "rsId=snp effectAllele=ea otherAllele=oa effectAlleleFrequency=eaf Beta=b standardError=se pValue=p"
    ),
    "GCTA": lambda t, _: spelled(t, "SNP=snp A1=ea A2=oa freq=eaf b=b se=se p=p N=n"),
    "GWAMA": lambda t, _: spelled(t, "rs_number=snp reference_allele=ea other_allele=oa eaf=eaf beta=b se=se"),
    "GIANT": lambda t, _: spelled(
        t, "SNP=snp Tested_Allele=ea Other_Allele=oa Freq_Tested_Allele_in_HRS=eaf BETA=b SE=se P=p"
    ),
    "Freq.Allele1": lambda t, _: spelled(
        t, "MarkerName=snp Allele1=ea Allele2=oa Freq.Allele1.HapMapCEU=eaf b=b se=se p=p"
    ),
    "other frequency": lambda t, _: spelled(t, "SNP=snp EA=ea NEA=oa BETA=b SE=se").assign(EAF=t["eaf"]),
    "z": lambda t, _: spelled(t, "SNP=snp A1=ea A2=oa Z=z N=n EAF=eaf"),
    "OR p": lambda t, _: spelled(t, "SNP=snp effect_allele=ea other_allele=oa eaf=eaf odds_ratio=or p=p"),
    "beta interval": lambda t, _: spelled(t, "SNP=snp ea=ea oa=oa eaf=eaf beta=b").assign(
        ci_lower=t["b"] - 1.959964 * t["se"], ci_upper=t["b"] + 1.959964 * t["se"]
    ),
}  # fmt: skip


def stored(frame: pd.DataFrame, folder: Path, rng: random.Random, name: str) -> Path:
    """Written with a delimiter, an order of columns and of rows, an ending and missing cells that chance picks."""
    vcf = "FORMAT" in frame
    if not vcf:
        columns = list(frame.columns)
        rng.shuffle(columns)
        frame = frame[columns].iloc[rng.sample(range(len(frame)), len(frame))]
        if rng.random() < 0.3:
            frame = frame.rename(columns=str.upper if rng.random() < 0.5 else str.lower)
    sep = "\t" if vcf else rng.choice([",", "\t", ";", " ", "  "])
    rows = [sep.join(map(str, frame.columns)), *(sep.join(map(str, r)) for r in frame.to_numpy())]
    text = "\n".join((["##fileformat=VCFv4.2"] if vcf else []) + rows) + "\n"
    path = folder / f"{name}{rng.choice(['.txt', '.tsv', '.csv', '.txt.gz'])}"
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_gives_the_effect_on_the_right_allele(name: str, tmp_path: Path) -> None:
    """Orders, spellings and delimiters at random: the estimate is 0.5, where a swapped allele would give about 0."""
    for seed in range(3):
        rng = random.Random(f"{name}{seed}")
        x = spelled(truth(seed), "SNP=snp effect_allele=ea other_allele=oa eaf=eaf beta=b se=se")
        y = FORMATS[name](outcome(seed), rng)
        if name == "METAL p":
            y["StdErr"] = outcome(seed)["se"]
        path = stored(y, tmp_path, rng, f"y{seed}")
        data = tables.read(x, exposure="x", outcome=path)
        lacks_frequency = {"METAL p": 6, "SAIGE short": 6, "PLINK 1": 6, "PLINK 1 OR": 6}.get(name, 0)
        palindromes = int((truth(seed)["ea"] + truth(seed)["oa"]).isin(["AT", "CG"]).sum())
        lost = palindromes if lacks_frequency else 0
        assert len(data.instruments) == J - lost, data.dropped["reason"].tolist()
        np.testing.assert_allclose(data.beta_y[0], data.beta_x[0] / 2, rtol=2e-3)
        at = {n: k for k, n in enumerate(truth(seed)["snp"])}
        se = truth(seed)["se"].to_numpy()[[at[n] for n in data.instruments]]
        np.testing.assert_allclose(data.se_y[0], se, rtol=2e-3)


@pytest.mark.parametrize("columns", [
    "Allele1=ea Allele2=oa", "alleleA=ea alleleB=oa", "minor_allele=ea major_allele=oa", "first=ea second=oa", "a2=ea",
    "Al_1=ea Al_2=oa", "SNP_allele=ea",
])  # fmt: skip
def test_alleles_that_are_not_understood_are_refused(columns: str, tmp_path: Path) -> None:
    x = spelled(truth(0), "SNP=snp effect_allele=ea other_allele=oa eaf=eaf beta=b se=se")
    y = spelled(outcome(0), f"SNP=snp beta=b se=se {columns}")
    with pytest.raises(InputError, match="effect_allele"):
        tables.read(x, exposure="x", outcome={"y": y})
    for pair in ((x, y), (y, x)):
        data = tables.read(pair[0], exposure="x", outcome={"y": pair[1]}, no_alleles=True)
        assert data.meta["notes"][0].startswith("NOT HARMONIZED")


def test_one_table_without_alleles_is_refused(tmp_path: Path) -> None:
    x = spelled(truth(0), "SNP=snp effect_allele=ea other_allele=oa eaf=eaf beta=b se=se")
    y = spelled(outcome(0), "SNP=snp beta=b se=se")
    for pair in ((x, y), (y, x)):
        with pytest.raises(InputError, match=r"no alleles, while .* has them.*--no-alleles"):
            tables.read(pair[0], exposure="x", outcome={"y": pair[1]})
    neither = tables.read(y, exposure="x", outcome={"y": y})
    assert neither.meta["notes"] == [
        "No table names alleles: instruments are matched by name, effects taken as they are."
    ]


def test_a_wide_table_with_two_sets_of_alleles_is_harmonized() -> None:
    x, y = truth(0), outcome(0)
    wide = pd.concat([spelled(x, "SNP=snp beta.exposure=b se.exposure=se effect_allele.exposure=ea other_allele.exposure=oa"
                                 " eaf.exposure=eaf"),
                      spelled(y, "beta.outcome=b se.outcome=se effect_allele.outcome=ea other_allele.outcome=oa"
                                 " eaf.outcome=eaf")], axis=1)  # fmt: skip
    data = tables.read(wide)
    np.testing.assert_allclose(data.beta_y, data.beta_x / 2)
    for sides in (["exposure"], ["outcome"]):
        lacking = wide.drop(columns=[f"{c}_allele.{s}" for c in ("effect", "other") for s in sides])
        with pytest.raises(InputError, match="none of those on"):
            tables.read(lacking)
        as_is = tables.read(lacking, no_alleles=True)
        np.testing.assert_array_equal(as_is.beta_y[0], y["b"])
    odd = wide.assign(**{"effect_allele.outcome": "GATTACA"})
    with pytest.raises(InputError, match="no instrument is left"):
        tables.read(odd)
    done = wide.assign(mr_keep=True)  # harmonized before: a palindrome near .5 stays as it is
    done["eaf.outcome"] = done["eaf.exposure"] = 0.5
    assert len(tables.read(done).instruments) == J


INDELS = {("ATC", "A"): 1, ("I", "D"): 1, ("-", "TC"): -1, ("<INS>", "<DEL>"): 1, ("R", "D"): 1, ("GTC", "G"): 1, ("I", "R"): 1,
          ("N", "<DEL>"): 1, ("INS", "DEL"): 1, ("TC", "-"): 1, ("<DUP>", "N"): 1, ("R", "I"): -1, ("<DEL>", "A"): -1,
          ("D", "R"): -1, ("<CN0>", "<CN2>"): -1, ("D", "I"): -1}  # fmt: skip
"""Ways of writing that two bases are inserted, or deleted: 1 where the first allele is the longer one."""


@pytest.mark.parametrize("swap", [False, True])
def test_indels_in_any_writing_are_told_apart(swap: bool) -> None:
    rows = [(p, q) for p in INDELS for q in INDELS]
    frame = pd.DataFrame({"SNP": [f"v{k}" for k in range(len(rows))], "eaf": 0.3, "se": 0.01})
    x = frame.assign(effect_allele=[p[0] for p, _ in rows], other_allele=[p[1] for p, _ in rows], beta=0.1)
    ends = [q[::-1] if swap else q for _, q in rows]
    y = frame.assign(effect_allele=[q[0] for q in ends], other_allele=[q[1] for q in ends], beta=0.05)
    data = tables.read(x, exposure="x", outcome={"y": y})
    want = [INDELS[p] * INDELS[q] * (-1 if swap else 1) for p, q in rows]
    got = {
        rows[int(n[1:])]: s == want[int(n[1:])]
        for n, s in zip(data.instruments, np.sign(data.beta_y[0]), strict=True)
    }
    assert [pair for pair, right in got.items() if not right] == []
    lost = {rows[int(n[1:])] for n in data.dropped["instrument"]}
    one, two = ("ATC", "A"), ("GTC", "G")  # two different insertions
    assert lost == {(one, two), (two, one)}


def test_palindromes_with_an_allele_missing(tmp_path: Path) -> None:
    base = {"SNP": ["a", "b", "c", "d"], "se": 0.01}
    x = pd.DataFrame({**base, "effect_allele": "G", "other_allele": "C", "eaf": 0.2, "beta": 0.1})
    y = pd.DataFrame({**base, "effect_allele": ["G", "G", "", "G"], "other_allele": ["", "", "C", ""],
                      "eaf": [0.8, 0.2, 0.8, 0.5], "beta": [-0.05, 0.05, -0.05, 0.05]})  # fmt: skip
    for first, second, factor in ((x, y, 0.5), (y, x, 2.0)):
        data = tables.read(first, exposure="x", outcome={"y": second})
        assert data.instruments == ("a", "b", "c")
        np.testing.assert_allclose(data.beta_y / data.beta_x, factor)
        assert "do not tell the strand" in data.dropped["reason"][0]
        with pytest.raises(InputError, match=r"palindromic alleles .* \(action 3 drops them\)"):
            tables.read(first, exposure="x", outcome={"y": second}, action=3)
        kept = tables.read(first, exposure="x", outcome={"y": second}, action=1)
        assert kept.instruments == ("b", "d")
    whole = y.assign(effect_allele="G", other_allele="C")
    forward = tables.read(x, exposure="x", outcome={"y": whole}, action=1)
    assert any("two sides of 0.5" in note for note in forward.meta["notes"])


def test_rows_of_one_name_are_told_apart_by_their_alleles() -> None:
    x = pd.DataFrame({"SNP": ["m", "m", "s", "t"], "effect_allele": ["A", "A", "C", "A"], "other_allele": ["G", "C", "T", "G"],
                      "beta": [0.1, 0.2, 0.3, 0.4], "se": 0.01})  # fmt: skip
    y = pd.DataFrame({"SNP": ["m", "m", "s", "t", "t"], "effect_allele": ["C", "T", "T", "A", "G"],
                      "other_allele": ["A", "C", "C", "C", "A"], "beta": [-0.1, 0.05, -0.15, 9.0, -0.2], "se": 0.01})  # fmt: skip
    data = tables.read(x, exposure="x", outcome={"y": y})
    assert set(data.instruments) == {"m_A_G", "m_A_C", "s", "t"}
    np.testing.assert_allclose(data.beta_y, data.beta_x / 2)
    twice = pd.concat([y, y.iloc[:1].assign(beta=7.0)])
    again = tables.read(x, exposure="x", outcome={"y": twice})
    assert "contradicting rows" in again.dropped["reason"].iloc[0]
    assert set(again.instruments) == {"m_A_G", "s", "t"}


MISSING = ["", "NA", "#N/A", "-", "<NA>", "NaN", "nan", "NULL", "None", ".", "#NUM!", "#DIV/0!", "#VALUE!", "#REF!", "n/a", "N/A",
           "-nan", "1.#QNAN", "-1.#IND", "?", "\\N", "NA_real_", "(null)", "--", "#NAME?"]  # fmt: skip


@pytest.mark.parametrize("cell", MISSING)
def test_missing_values_of_spreadsheets_and_r(cell: str, tmp_path: Path) -> None:
    rows = [f"rs{k},0.1,0.01,{cell if k == 2 else 0.05},{cell if k == 2 else 0.01}" for k in range(6)]
    (tmp_path / "t.csv").write_text(
        "\n".join(["SNP,beta.exposure,se.exposure,beta.outcome,se.outcome", *rows])
    )
    data = tables.read(tmp_path / "t.csv")
    assert np.isnan(data.beta_y[0]).tolist() == [k == 2 for k in range(6)]
    assert run_mr(data, "ivw")[0].to_frame()["estimate"].item() == pytest.approx(0.5)


def test_odds_ratios_are_asked_about_and_errors_of_ratios_found_by_p() -> None:
    y = outcome(3)
    y["b"] = y["b"].abs() * 5
    ratio = np.exp(y["b"])
    p = 2 * norm.sf(y["b"] / y["se"])
    called = pd.DataFrame({"SNP": y["snp"], "beta": np.exp(y["b"] / 5), "se": y["se"]})
    assert any("as odds ratios are" in n for n in tables.read_trait(called).notes)
    wide = {
        "SNP": y["snp"],
        "beta_exposure": y["b"],
        "se_exposure": 0.1,
        "beta_outcome": called["beta"],
        "se_outcome": 0.1,
    }
    assert any("as odds ratios are" in n for n in tables.read(pd.DataFrame(wide)).meta["notes"])
    given = pd.DataFrame({"SNP": y["snp"], "OR": ratio, "SE": y["se"] * ratio, "P": p})
    found = tables.read_trait(given)
    np.testing.assert_allclose(found.frame["se"], y["se"])
    logs = tables.read_trait(given.assign(SE=y["se"]))
    np.testing.assert_allclose(logs.frame["se"], y["se"])
    with pytest.raises(InputError, match="Odds ratios are above 0"):
        tables.read_trait(given.assign(OR=-ratio))
    with pytest.raises(InputError, match="does not hold"):
        tables.read_trait(given.drop(columns="SE").assign(ci_lower=y["b"] - 1e-3, ci_upper=y["b"] + 1e-3))


@pytest.mark.parametrize("text", ["5E-324", "1e-400", "1E-1000", "2.5e-310", "1e-20", "0.05", "1"])
def test_p_beyond_double_precision_is_read_exactly(text: str, tmp_path: Path) -> None:
    from decimal import Decimal

    (tmp_path / "p.csv").write_text(f"SNP,beta,p\na,0.1,{text}\nb,-0.1,{text}\n")
    found = tables.read_trait(tmp_path / "p.csv").frame
    want = -float(Decimal(text).log10())
    log = pd.DataFrame({"SNP": ["a", "b"], "beta": [0.1, -0.1], "neglog10_p": want})
    np.testing.assert_allclose(tables.read_trait(log).frame["se"], found["se"], rtol=1e-12)
    locus = pd.DataFrame({"snp": ["a", "b"], "p_1": text, "maf_1": 0.3, "neglog10_p_2": want, "maf_2": 0.3})
    read = tables.read_coloc_table(locus, n=(1000, 1000))
    np.testing.assert_allclose(read.beta[0], read.beta[1], rtol=1e-12)
    assert np.isfinite(read.beta).all()
    assert ["no sign" in note for note in read.notes] == [True, True]
    if text != "1":
        z = 0.1 / found["se"].iloc[0]
        assert -norm.logsf(z) / np.log(10) - np.log10(2) == pytest.approx(want, rel=1e-9)


def test_p_of_zero_and_other_nonsense_is_refused() -> None:
    for cells, words in (([0.0, 0.1], "neglog10_p"), ([1.5, 0.1], "up to 1"), ([-1e-5, 0.1], "p-value")):
        with pytest.raises(InputError, match=words):
            tables.read_trait(pd.DataFrame({"SNP": ["a", "b"], "beta": [0.1, 0.2], "p": cells}))
    with pytest.raises(InputError, match="change the sign"):
        tables.read_trait(pd.DataFrame({"SNP": ["a", "b"], "beta": [0.1, 0.2], "LOG10P": [-3.0, -4.0]}))
    kept = tables.read_trait(pd.DataFrame({"SNP": ["a"], "beta": [0.1], "se": [0.01], "p": [0.0]}))
    assert kept.frame["se"].item() == 0.01  # p is not needed


def test_control_characters_in_names_are_refused(tmp_path: Path) -> None:
    rows = "SNP,beta_exposure,se_exposure,beta_outcome,se_outcome\nrs1\x1b[2J,.1,.01,.05,.01\n"
    (tmp_path / "t.csv").write_text(rows)
    with pytest.raises(InputError, match=r"'rs1\\x1b\[2J' holds a control character") as caught:
        tables.read(tmp_path / "t.csv")
    assert "\x1b" not in str(caught.value)
    (tmp_path / "h.csv").write_text(
        rows.replace("rs1\x1b[2J", "a").replace("beta_exposure", "beta_ex\x07posure")
    )
    with pytest.raises(InputError, match="holds a control character"):
        tables.read(tmp_path / "h.csv")
    (tmp_path / "t.csv").write_text(rows.replace("rs1\x1b[2J", "=1+1"))
    assert tables.read(tmp_path / "t.csv").instruments == ("=1+1",)


def test_alleles_of_two_traits_of_a_locus() -> None:
    rows = pd.DataFrame({"snp": ["a", "b", "c"], "beta_1": [0.1, 0.2, 0.3], "se_1": 0.1, "beta_2": [0.1, -0.2, 0.3], "se_2": 0.1,
                         "effect_allele_1": ["A", "C", "G"], "other_allele_1": ["G", "T", "A"],
                         "effect_allele_2": ["A", "T", "C"], "other_allele_2": ["G", "C", "T"]})  # fmt: skip
    np.testing.assert_allclose(tables.read_coloc_table(rows).beta[1], [0.1, 0.2, 0.3])
    with pytest.raises(InputError, match="do not match"):
        tables.read_coloc_table(rows.assign(effect_allele_2="C", other_allele_2="A"))
    with pytest.raises(InputError, match="none of trait 2"):
        tables.read_coloc_table(rows.drop(columns=["effect_allele_2", "other_allele_2"]))
