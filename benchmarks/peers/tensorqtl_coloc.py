"""tensorQTL's colocalization on arrays in a folder; runs in an environment of its own.

    python tensorqtl_coloc.py FOLDER [REPEATS]

Reads ``doses.npy`` (N, J), ``features.npy`` (N, F), ``outcomes.npy`` (N, O); one call per feature with all
outcomes batched. Writes ``peer_coloc.npy`` (F, O, 5) and prints the CPU seconds of each repeat.
"""

import sys
import time
from pathlib import Path

import numpy as np
import torch
from tensorqtl import coloc


def main() -> None:
    folder = Path(sys.argv[1])
    x, features, outcomes = (np.load(folder / f"{n}.npy") for n in ("doses", "features", "outcomes"))
    genotypes = torch.tensor(x.T.copy(), dtype=torch.float32)
    first = torch.tensor(features.T.copy(), dtype=torch.float32)
    second = torch.tensor(outcomes.T.copy(), dtype=torch.float32)
    for _ in range(int(sys.argv[2]) if len(sys.argv) > 2 else 1):
        start = time.process_time()
        out = [coloc.coloc(genotypes, genotypes, trait, second).numpy().T for trait in first]
        print(time.process_time() - start, flush=True)
    np.save(folder / "peer_coloc.npy", np.array(out))


if __name__ == "__main__":
    main()
