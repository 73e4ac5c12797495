"""What the verbs for tables import: scipy.stats alone would double the time to an answer."""

from __future__ import annotations

import subprocess
import sys

from tests.conftest import ROOT


def test_estimates_from_a_table_import_no_distributions() -> None:
    code = (
        "import sys, numpy as np, mrinterp\n"
        "b = np.array([.1, .2, .3, .4, .5, .6, .7]); s = np.full(7, .02)\n"
        "data = mrinterp.tables.summary_from_arrays(b, s, .5 * b, s)\n"
        "print(mrinterp.run_mr(data, ['ivw', 'egger'])[0].beta.shape)\n"
        "print(sorted(m for m in ('scipy.stats', 'statsmodels', 'torch', 'matplotlib', 'sklearn') if m in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.splitlines() == ["(1, 1)", "[]"]
