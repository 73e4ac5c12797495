"""tensorQTL's SuSiE on arrays in a folder; runs in an environment of its own.

    python tensorqtl_susie.py FOLDER TRAITS

Reads ``doses.npy`` (N, J) and ``traits.npy`` (N, T), fits the first TRAITS traits one after the other (L 10,
credible sets), writes ``peer_pip.npy`` and prints the CPU seconds per trait.
"""

import sys
import time
from pathlib import Path

import numpy as np
import torch
from tensorqtl import susie


def main() -> None:
    folder, count = Path(sys.argv[1]), int(sys.argv[2])
    x = torch.tensor(np.load(folder / "doses.npy"), dtype=torch.float32)
    traits = torch.tensor(np.load(folder / "traits.npy"), dtype=torch.float32)
    susie.susie(x, traits[:, :1], L=10)  # warm up
    start, pips = time.process_time(), []
    for t in range(count):
        fit = susie.susie(x, traits[:, t : t + 1], L=10)
        pips.append(fit["pip"])
    print((time.process_time() - start) / count, flush=True)
    np.save(folder / "peer_pip.npy", np.array(pips))


if __name__ == "__main__":
    main()
