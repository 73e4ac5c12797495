"""Peak memory and time of the marginal scan: errors of all pairs of features against those with the outcomes only.

    python benchmarks/marginal_scan_memory.py [features] [doses]

Each variant runs in a process of its own; memory is its largest resident size beyond that before the scan.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from typing import Any

import numpy as np

VARIANTS = ("all pairs", "with the outcomes")


def panel(features: int, doses: int) -> Any:
    """Forty families of five prompts, ten runs each."""
    import mrinterp

    rng = np.random.default_rng(0)
    prompt = np.repeat(np.arange(200), 11)
    clean = np.tile(np.arange(11) == 0, 200)
    z = rng.integers(0, 2, (len(prompt), doses)) * (~clean)[:, None]
    x = z @ rng.standard_normal((doses, features)) + rng.standard_normal((len(prompt), features))
    y = x[:, :1] + rng.standard_normal((len(prompt), 1))
    return mrinterp.from_arrays(
        doses=z, features=x, outcomes=y, prompt=prompt, family=prompt // 5, clean=clean
    )


def measured(variant: str, features: int, doses: int) -> dict[str, float]:
    """Seconds and MiB of one variant, in this process."""
    from mrinterp.scan import marginal_scan
    from mrinterp.stats.clustered.least_squares import marginal_slopes

    made = panel(features, doses)
    marginal_scan(panel(5, doses))  # imports and thread pools
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    marginal_scan(made, candidates=made.feature_names if variant == "all pairs" else ())
    seconds = time.perf_counter() - start
    mib = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    change = made.changes()
    traits = np.concatenate([change.features, change.outcomes], axis=1)
    wanted = None if variant == "all pairs" else np.array([features])
    start = time.perf_counter()
    marginal_slopes(change.doses, traits, change.family, "CR3", wanted)
    return {"seconds": seconds, "mib": mib, "step": time.perf_counter() - start}


def main(features: int = 2000, doses: int = 20) -> None:
    found = {}
    for variant in VARIANTS:
        code = f"import sys; sys.path.insert(0, 'benchmarks'); import json, marginal_scan_memory as m; print(json.dumps(m.measured({variant!r}, {features}, {doses})))"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        found[variant] = json.loads(done.stdout.splitlines()[-1])
        print(
            f"{variant:>20}: {found[variant]['seconds']:7.2f} s, {found[variant]['mib']:8.0f} MiB beyond the panel;"
            f" slopes with their covariance alone {found[variant]['step']:.2f} s"
        )
    a, b = (found[v] for v in VARIANTS)
    print(
        f"{features} features, {doses} doses: time ratio {a['seconds'] / b['seconds']:.0f}, memory ratio"
        f" {a['mib'] / max(b['mib'], 1):.0f}"
    )


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
