"""What the verbs for tables import and compile: either would take longer than the answer."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.conftest import ROOT

SLOW = ("scipy.stats", "scipy.optimize", "scipy.linalg", "scipy.sparse", "numba", "statsmodels", "torch")
SLOW = (*SLOW, "matplotlib", "sklearn", "mrinterp.mr._multivariable.grapple")


def test_a_table_of_one_exposure_waits_for_no_compiler_and_no_distributions(tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    rows = [f"rs{j},{0.1 + 0.01 * j},.01,{0.05 + 0.004 * j},.02" for j in range(30)]
    header = "SNP,beta_exposure,se_exposure,beta_outcome,se_outcome"
    table.write_text("\n".join([header, *rows]))
    code = (
        "import sys\nfrom mrinterp.cli import cli\n"
        f"cli(['mr', {str(table)!r}], standalone_mode=False)\n"
        f"print(sorted(m for m in {SLOW!r} if m in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert "Weighted median" in done.stdout, "the standard panel has a bootstrap"
    assert done.stdout.splitlines()[-1] == "[]"
