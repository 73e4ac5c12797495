"""Does the test by attributes of prompts find effects that depend on one, and how often does it alarm where none does?

    python benchmarks/diagnostics/subgroups.py [DRAWS]

The simulated runs of ``assumptions.py`` (40 families of 3 prompts, 8 runs each) with two attributes of three words each. Writes
benchmarks/results/diagnostics_subgroups.md.
"""

from __future__ import annotations

import sys
from pathlib import Path

from assumptions import runs, share, words

from mrinterp.diagnostics import assumption_checks
from mrinterp.results import Check

RESULTS = Path(__file__).parents[1] / "results" / "diagnostics_subgroups.md"
CASES = {
    "nothing": "effects are alike",
    "subgroups by attributes": "1.5 with one of the three words of `quality`, .75 with the others",
    "subgroups of prompts": "the effect grows with the clean state, whatever the words",
}
BY = "subgroups by attributes"


def found(seed: int, wrong: str) -> tuple[bool, bool, bool]:
    """Whether the test by attributes fails, whether it names `quality` first, and whether any test with a probability fails."""
    checks = [c for c in assumption_checks(runs(seed, wrong), attributes=words(seed)) if isinstance(c, Check)]
    (own,) = [c for c in checks if c.name.startswith(BY)]
    z = [
        float(part.split()[1].rstrip("; (p="))
        for part in own.note.split("by attribute ")[1].split(" (p")[0].split(", ")
    ]
    return own.verdict == "failed", z[0] > z[1], any(c.verdict == "failed" for c in checks)


def main(draws: int) -> None:
    """Draw, count, write."""
    lines = [
        "# Subgroups by attributes of prompts",
        "",
        f"Written by `benchmarks/diagnostics/subgroups.py {draws}`; {draws} draws a row, shares with their exact 95% intervals.",
        "",
        "| effects | the test by attributes fails | `quality` has the larger z | any test with a probability fails |",
        "|---|---|---|---|",
    ]
    for wrong, words_ in CASES.items():
        made = [found(seed, wrong) for seed in range(draws)]
        cells = [share(sum(m[k] for m in made), draws) for k in range(3)]
        lines.append(f"| {words_} | {' | '.join(cells)} |")
        print(lines[-1], flush=True)
    RESULTS.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 200)
