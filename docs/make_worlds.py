"""Write docs/worlds.md: every family of worlds with known causes, from the families themselves.

    python docs/make_worlds.py

A test fails while the page differs from what this writes.
"""

from __future__ import annotations

from pathlib import Path

from mrinterp.worlds import world_families

__all__ = ["page"]

PAGE = Path(__file__).with_name("worlds.md")
HEAD = """# Worlds whose causes are known

<!-- Written by `python docs/make_worlds.py` from `mrinterp.worlds.world_families()`: edit the families. -->

A world is what a method is given (a bench, a panel of runs, summary statistics, or several of these) and the exact truth that it
is scored against. A *family* draws worlds from seeds: the same seed is the same world. Methods and their settings are chosen
on **development** families only; **evaluation** families are kept for the end.

```python
import mrinterp

world = mrinterp.worlds.world_families()["twins"].make(seed=0)
truth = world.truth
for name, causal, cause in zip(truth.features, truth.causal[:, 0], truth.borrows_from, strict=True):
    print(name, bool(causal), "moves with " + truth.features[cause] if cause >= 0 else "")
found = mrinterp.knock_out(world.bench, "zero")  # what the truth's effects["zero"] says
```

## What a truth holds

`effects` has one table (features, outcomes) for each estimand that applies. For networks they come from the network's formula,
in double precision, without the code that runs knockouts; for trained ones from exhaustive knockouts, with standard errors.
`contrast`, `mean`, `zero` and `resample` are what `knock_out(bench.by_token, kind).mean` is (`resample`: for hand-built networks
with every prompt of another family as donor), `shift` that of the reading by its sd, `resample rms` the root mean square of the
changes where their signs differ, `slope` the local effect in both directions alike, per sd of the feature (`feature_sd`), `direct`
the slope with later features held. For tables and simulated runs there is the planted `slope`, per unit. A feature is *causal*
where its contrast per natural sd is more than the region of practical equivalence, .02 sd of the outcome, or resampling it
changes the outcome by twice that (root mean square over the square root of two). So a feature that does nothing within
what it naturally takes is not causal even where setting it to zero does something (*clamp and step*), and one half of a redundant
pair is. `borrows_from` names the cause whose effect a feature without one shows, `group` the features that no instrument can tell
apart, and `broken` what a world breaks of what methods assume.

## The families

`make(seed)` draws a small world, for tests and for the quick benchmark; `make(seed, small=False)` one that is several times larger.
*(tables)* are summary statistics, *(runs)* panels without a network; networks have a bench, and most of them a panel of runs whose
doses are noise or substitutions on the inputs.
"""


def page() -> str:
    """The page as it must be."""
    rows = [f"| {f.name} | {f.part} | {f.about} |" for f in world_families().values()]
    return (
        "\n".join(
            [HEAD, "| family | part | what is causal, and what tempts a method |", "|---|---|---|", *rows]
        )
        + "\n"
    )


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
