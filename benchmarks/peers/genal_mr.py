"""genal's estimators on arrays in a folder; runs in an environment of its own (``pip install genal-python``).

    python genal_mr.py FOLDER TASK

Reads ``x.npy, sx.npy`` (F, J) and ``y.npy, sy.npy`` (J,). TASK 0: IVW and MR-Egger of every feature; prints CPU
seconds per feature. TASK 1: the weighted median of the first feature with 1,000 draws; prints CPU seconds per draw.
Writes ``peer_mr.npy``: estimate and error of each.
"""

import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

os.environ["HOME"] = tempfile.mkdtemp()  # genal writes a settings file there when it is imported
from genal import MR

DRAWS = 1000


def main() -> None:
    folder, task = Path(sys.argv[1]), int(sys.argv[2])
    x, sx, y, sy = (np.load(folder / f"{name}.npy") for name in ("x", "sx", "y", "sy"))
    MR.mr_ivw(x[0], sx[0], y, sy)  # warm up
    start, found = time.process_time(), []
    if task == 0:
        for b, s in zip(x, sx, strict=True):
            ivw, egger = MR.mr_ivw(b, s, y, sy)[0], MR.mr_egger_regression(b, s, y, sy)[0]
            found.append([ivw["b"], ivw["se"], egger["b"], egger["se"]])
        count = len(x)
    else:
        median = MR.mr_weighted_median(x[0], sx[0], y, sy, DRAWS, seed=1)[0]
        found, count = [[median["b"], median["se"]]], DRAWS
    print((time.process_time() - start) / count, flush=True)
    np.save(folder / "peer_mr.npy", np.array(found))


if __name__ == "__main__":
    main()
