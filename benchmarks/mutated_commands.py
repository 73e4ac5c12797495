"""Mutated command lines of the verbs that read tables: none ends in a traceback, in silence, or behind a warning.

    python benchmarks/mutated_commands.py                     # 3,000 command lines and 60 processes
    python benchmarks/mutated_commands.py --count 500 --seed 7

Each starts from a command that works (mr, coloc, finemap; run and rerun with paths that do not exist), of which words,
options, values, headers, cells and file names are changed. It counts:

traceback   an exception other than the exit of a verb
silent      exit code 0 without a result, or another one without a message
warning     a RuntimeWarning or a library's warning in front of what is printed
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from pathlib import Path

import numpy as np
from click.testing import CliRunner

from mrinterp.cli import cli

JUNK = ["", " ", "0", "-1", "1e400", "nan", "inf", "NA", "abc", "1,5", "é", "\x1b[31mred", "\u202e", "'", '"', "=1+1", "0x10", "1_0",
        "True", "None", "[]", "{}", "-x", "--", "a=b", "ivw.", ".", "..", "/", "no such file.csv", "9" * 40, "5e-324", "1e-400", "５"]  # fmt: skip
OPTIONS: dict[str, list[str]] = {
    "mr": ["-m", "--method", "-x", "-y", "--exposure", "--outcome", "--ld", "--error-corr", "--action", "--option", "--level",
           "--unit", "--p-threshold", "--clump-r2", "--clump-kb"],
    "coloc": ["--ld", "--ld-2", "--type-1", "--type-2", "--sd-1", "--sd-2", "--case-fraction-1", "--n-1", "--n-2", "--p1", "--p12"],
    "finemap": ["--ld", "--n", "--var-y", "--max-effects", "--coverage", "--min-abs-corr", "--tol", "--null-weight", "--max-iter"],
    "run": ["--out", "--top"],
    "rerun": ["--out"],
}  # fmt: skip
FLAGS = {"mr": ["--json", "--clump", "--no-alleles", "--leave-one-out", "--list-methods"], "coloc": ["--json", "--estimate-prior"],
         "finemap": ["--json", "--refine", "--estimate-residual-variance"], "run": ["--dry-run"], "rerun": []}  # fmt: skip
NUMBERS = ["0", "0.5", "1", "2", "500", "1e-8", "1e8", "1e-300", "1e300", "0.95", "-1", "3", "100000"]
VALUES = [
    "cc",
    "quant",
    "ivw.x=True",
    "egger.distribution=normal",
    "egger.distribution=None",
    "ivw.weights=second",
]
METHODS = [
    "ivw",
    "egger",
    "weighted_median",
    "mv_ivw",
    "ivw_correlated",
    "raps",
    "conmix",
    "wald",
    "sign",
    "divw",
    "within",
]
COLUMNS = ["SNP", "beta", "se", "effect_allele", "other_allele", "eaf", "p", "OR", "z", "n", "A1", "A2", "Allele1", "REF", "ALT",
           "beta_exposure", "se_outcome", "beta_2", "varbeta_1", "p_1", "chromosome", "position", "hm_beta", "FORMAT", "TEST"]  # fmt: skip


def tables() -> dict[str, str]:
    """Small tables that work, as text by file name."""
    rng = np.random.default_rng(5)
    J = 12
    names, b = [f"rs{k}" for k in range(J)], rng.uniform(0.05, 0.2, J)
    pairs = [("A", "G"), ("C", "T"), ("G", "C"), ("A", "C")]
    ld = 0.4 ** np.abs(np.subtract.outer(np.arange(J), np.arange(J)))
    rows = [(n, *pairs[k % 4], 0.2, b[k], b[k] / 2, 0.01, k * 1000) for k, n in enumerate(names)]
    return {
        "wide.csv": "SNP,beta_exposure,se_exposure,beta_outcome,se_outcome\n"
        + "\n".join(f"{n},{x:.4f},{s},{y:.4f},{s}" for n, _, _, _, x, y, s, _ in rows),
        "x.csv": "SNP,effect_allele,other_allele,eaf,beta,se,chromosome,position\n"
        + "\n".join(f"{n},{a},{o},{f},{x:.4f},{s},1,{p}" for n, a, o, f, x, _, s, p in rows),
        "metal.tsv": "MarkerName\tAllele1\tAllele2\tFreq1\tEffect\tStdErr\n"
        + "\n".join(f"{n}\t{o}\t{a}\t{1 - f}\t{-y:.4f}\t{s}" for n, a, o, f, _, y, s, _ in rows),
        "or.txt": "SNP A1 A2 OR P\n" + "\n".join(f"{n} {a} {o} {np.exp(y):.4f} 1e-{5 + k}"
                                                 for k, (n, a, o, _, _, y, _, _) in enumerate(rows)),
        "locus.csv": "snp,beta_1,varbeta_1,beta_2,varbeta_2,maf_1,maf_2\n"
        + "\n".join(f"{n},{x:.4f},.001,{y:.4f},.001,.2,.2" for n, _, _, _, x, y, _, _ in rows),
        "p.csv": "snp,p_1,maf_1,p_2,maf_2\n" + "\n".join(f"{n},1e-{3 + 30 * k},.3,1e-{2 + k},.3" for k, n in enumerate(names)),
        "fm.csv": "snp,bhat,shat\n" + "\n".join(f"{n},{x:.4f},.03" for n, _, _, _, x, _, _, _ in rows),
        "ld.csv": ",".join(names) + "\n" + "\n".join(",".join(f"{v:.5f}" for v in row) for row in ld),
    }  # fmt: skip


WORKING = [
    ["mr", "wide.csv"],
    ["mr", "wide.csv", "-m", "ivw", "--json"],
    ["mr", "x.csv", "-y", "metal.tsv", "-m", "ivw"],
    ["mr", "x.csv", "-y", "or.txt", "-m", "egger", "--option", "egger.distribution=normal"],
    ["mr", "x.csv", "-y", "metal.tsv", "-m", "ivw", "--p-threshold", "1e-4", "--clump", "--ld", "ld.csv"],
    ["mr", "wide.csv", "--ld", "ld.csv", "-m", "ivw_correlated"],
    ["coloc", "locus.csv", "--sd-1", "1", "--sd-2", "1"],
    ["coloc", "locus.csv", "--ld", "ld.csv", "--n-1", "500", "--n-2", "500", "--json"],
    ["coloc", "p.csv", "--n-1", "500", "--n-2", "500"],
    ["finemap", "fm.csv", "--ld", "ld.csv", "--n", "500"],
    ["run", "absent.toml"],
    ["rerun", "absent"],
]


def mutated(rng: random.Random, files: dict[str, str]) -> tuple[list[str], dict[str, bytes]]:
    """A command of `WORKING` with one to three changes, in its words or in its files."""
    words = list(rng.choice(WORKING))
    content = {name: text.encode() for name, text in files.items()}
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        verb = words[0] if words and words[0] in OPTIONS else "mr"
        kind = rng.randrange(12)
        if kind == 0 and len(words) > 1:
            del words[rng.randrange(1, len(words))]
        elif kind == 1 and len(words) > 1:
            words[rng.randrange(1, len(words))] = rng.choice([*JUNK, *files])
        elif kind == 2:
            option = rng.choice(OPTIONS[verb])
            value = rng.choice([rng.choice(NUMBERS), rng.choice([*JUNK, *files, *METHODS, *VALUES])])
            words += [option, value]
        elif kind == 3 and FLAGS[verb]:
            words.append(rng.choice(FLAGS[verb]))
        elif kind == 4 and verb == "mr":
            words += ["-m", rng.choice(METHODS)]
        else:
            used = [w for w in words if w in content]
            if used:
                name = rng.choice(used)
                content[name] = damaged(rng, content[name])
    return words, content


def damaged(rng: random.Random, raw: bytes) -> bytes:
    """A table with a cell, a header, a row, a column or a byte changed."""
    text = raw.decode(errors="replace")
    comma = next((c for c in "\t, " if c in text.split("\n")[0]), ",")
    cells = [line.split(comma) for line in text.split("\n")]
    row = rng.randrange(len(cells))
    column = rng.randrange(max(len(cells[row]), 1))
    kind = rng.randrange(12)
    if kind < 6 and cells[row]:
        numbers = [1e-300, 1e300, 1e150, 5e-324, rng.gauss(0, 1), 1.02, 1e-9, -0.01, 0.0]
        letters = ["A", "G", "AT", "<DEL>", "-", "", "NA"]
        for each in range(1, len(cells)) if rng.random() < 0.15 else [row]:  # one cell, or a whole column
            if column < len(cells[each]):
                cells[each][column] = rng.choice(
                    [repr(rng.choice(numbers)), rng.choice(letters), rng.choice(JUNK)]
                )
    elif kind == 6 and cells[0]:
        cells[0][rng.randrange(len(cells[0]))] = rng.choice(COLUMNS)
    elif kind == 7:
        cells.append(list(cells[row]))
    elif kind == 8 and len(cells) > 1:
        del cells[row]
    elif kind == 9:
        cells = [line[:column] + line[column + 1 :] for line in cells]
    elif kind == 10:
        cells = [[*line, rng.choice(["1", "0", "A", "NA", "0.5"])] for line in cells]
        cells[0][-1] = rng.choice(COLUMNS)
    out = "\n".join(comma.join(line) for line in cells).encode()
    if rng.random() < 0.1:
        at = rng.randrange(len(out) + 1)
        out = out[:at] + bytes([rng.randrange(256)]) + out[at:]
    return out[: rng.randrange(len(out) + 1)] if rng.random() < 0.05 else out


def fault(words: list[str]) -> str:
    """What is wrong with how a command ends in this process: empty where nothing is."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        done = CliRunner().invoke(cli, words)
    error = done.exception
    if error is not None and not isinstance(error, SystemExit):
        return "traceback: " + "".join(traceback.format_exception(error))[-1500:]
    said = [w for w in caught if issubclass(w.category, RuntimeWarning | UserWarning | FutureWarning)]
    if said:
        return (
            f"warning: {said[0].category.__name__}: {said[0].message} ({said[0].filename}:{said[0].lineno})"
        )
    printed = (done.stdout + done.stderr).strip()
    if not printed or (done.exit_code == 0 and not done.stdout.strip()):
        return f"silent: exit code {done.exit_code}"
    if "\x1b" in printed:
        return "silent: a control character reached the terminal"
    if "--json" in words and done.exit_code == 0 and done.stdout[:1] in "[{" and "--help" not in words:
        json.loads(done.stdout)
    return ""


def campaign(count: int, seed: int, processes: int = 0) -> list[tuple[list[str], str]]:
    """Run ``count`` mutated commands, the first ``processes`` of them as processes too: those that end badly."""
    rng, files, bad = random.Random(seed), tables(), []
    here = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            for k in range(count):
                words, content = mutated(rng, files)
                for name, raw in content.items():
                    Path(name).write_bytes(raw)
                wrong = fault(words)
                if k < processes and not wrong and "\x00" not in "".join(words):
                    done = subprocess.run(
                        [sys.executable, "-m", "mrinterp", *words],
                        capture_output=True,
                        text=True,
                        timeout=300,
                        check=False,
                    )
                    if (
                        "Traceback" in done.stderr
                        or "Warning" in done.stderr
                        or not (done.stdout + done.stderr)
                    ):
                        wrong = f"process: exit code {done.returncode}: {done.stderr[-800:]}"
                if wrong:
                    bad.append((words, wrong))
        finally:
            os.chdir(here)
    return bad


def main() -> None:
    """Print how many command lines ended in which way."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=60)
    given = parser.parse_args()
    start = time.perf_counter()
    bad = campaign(given.count, given.seed, given.processes)
    for words, wrong in bad[:20]:
        print(" ".join(map(repr, words)), "\n   ", wrong)
    kinds = Counter(wrong.split(":")[0] for _, wrong in bad)
    print(
        f"{given.count} command lines, {time.perf_counter() - start:.0f} s: "
        + (str(dict(kinds)) if bad else "0 faults")
    )
    sys.exit(bool(bad))


if __name__ == "__main__":
    main()
