"""The exhaustive knockout table of a network: every prompt, every feature, every kind of knockout.

    python benchmarks/effects/truth_tables.py NETWORK [--out benchmarks/truth] [--work runs/truth]

Networks: gpt2-a, gpt2-b, sae, compiled, minilm-1 to minilm-5, minilm-latents, minilm-redrawn, paraphrase, antiberty
(`truth_networks.py`). One core is enough: seconds
for the small ones, 10 to 30 minutes for each layer of MiniLM. Finished blocks of runs are kept under ``--work``, so that
an interrupted table goes on where it stopped. Writes ``NETWORK.npz``, compressed, for `redrawn_studies.py`:

``change`` (A, K, P, O) float32
    Outcome of every edited run less the prompt's clean one: A arms (``arms``: kind and number of the swap), K features
    (``features``), P prompts, O outcomes (``outcomes``). The contrast's two arms are kept apart, so are the shift's.
``predicted`` (A, K, P, O) float32
    The cheap prediction of the same: gradient at the clean input along the write direction, token by token, times what
    the arm writes less what was there.
``moved`` (A, K, P) float32
    What the arm writes less what was there, mean over tokens; nan where it writes nothing (a latent that does not fire).
``clean`` (P, O), ``family`` (P,), ``read_back`` (A, K)
    Clean outcomes, the prompts' families, the largest error of reading back what was written.
``about``
    JSON: what the network is, the kinds and their options, versions, the digest of the arrays.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import transformers
from truth_networks import NETWORKS, TruthNetwork

import mrinterp
from mrinterp.knockouts import Bench, Contrast, Kind, Mean, Resample, Shift, Zero
from mrinterp.knockouts._bench_gradient import gradients
from mrinterp.knockouts._clean_values import clean_values

HERE = Path(__file__).parent.parent
KINDS = ("contrast", "resample", "mean", "zero", "shift")
ARRAYS = ("change", "predicted", "moved", "clean", "family", "read_back")


@dataclass(frozen=True, eq=False)
class TruthTable:
    """An exhaustive table; its arrays are those of the file."""

    arms: tuple[str, ...]
    features: tuple[str, ...]
    outcomes: tuple[str, ...]
    change: np.ndarray
    predicted: np.ndarray
    moved: np.ndarray
    clean: np.ndarray
    family: np.ndarray
    read_back: np.ndarray
    about: dict

    def arm(self, name: str) -> int:
        """Number of an arm such as ``"contrast high"``."""
        return self.arms.index(name)


def kinds_of(network: TruthNetwork) -> list[Kind]:
    """What is done to every feature."""
    return [Contrast(), Resample(donors=network.donors), Mean(), Zero(), Shift()]


def arm_names(kind: Kind) -> list[str]:
    """One per swap."""
    names = {"contrast": ("high", "low"), "shift": ("up", "down"), "mean": ("",), "zero": ("",)}
    numbered = tuple(str(s) for s in range(len(kind.signs)))
    return [f"{kind.name} {end}".strip() for end in names.get(kind.name, numbered)]


def table_of(network: TruthNetwork, kinds: Sequence[str] = KINDS) -> TruthTable:
    """Run every knockout of a network, or some kinds of it."""
    bench, placed = network.bench, network.bench.by_token
    K, O = bench.features, len(bench.outcome.names)
    slope = np.moveaxis(gradients(placed), 2, 0).reshape(K, bench.prompts, -1, O)
    parts = {name: [] for name in ("change", "predicted", "moved", "read_back")}
    arms, options = [], {}
    for kind in (k for k in kinds_of(network) if k.name in kinds):
        # A shift moves the mean that a study reads, every token alike; all others are written token by token.
        where = bench if kind.name == "shift" else placed
        for name, value in arm_values(where, kind, slope).items():
            parts[name].append(value)
        arms += arm_names(kind)
        options[kind.name] = {k: v for k, v in kind.options.items() if k != "levels"}
    made = {name: np.concatenate(value) for name, value in parts.items()}
    kept = {name: made[name].astype(np.float32) for name in ("change", "predicted", "moved")}
    about = {
        "network": network.words,
        "site": bench.site,
        "kinds": options,
        "prompts": bench.prompts,
        "families": len(np.unique(bench.family)),
        "bench": bench.digest,
        "versions": {
            "python": sys.version.split()[0],
            "mrinterp": mrinterp.__version__,
            "numpy": np.__version__,
            "torch": torch.__version__,
            "transformers": transformers.__version__,
        },
    }
    return TruthTable(
        tuple(arms),
        tuple(bench.view.names),
        tuple(bench.outcome.names),
        **kept,
        clean=bench.clean,
        family=np.unique(bench.family, return_inverse=True)[1],
        read_back=made["read_back"],
        about=about,
    )


def arm_values(bench: Bench, kind: Kind, slope: np.ndarray) -> dict[str, np.ndarray]:
    """Arms of one kind: ``change, predicted`` (S, K, P, O), ``moved`` (S, K, P), ``read_back`` (S, K).

    ``slope`` (K, P, T, O): derivative by what is written at every token.
    """
    numbers, S = np.arange(bench.features), len(kind.signs)
    clean = clean_values(bench, numbers)
    values = kind.targets(bench)(numbers)
    values = np.where(np.isnan(clean)[:, None], np.nan, values)
    step = values - clean[:, None]
    shape = (S, bench.features, bench.prompts)
    ran = bench.sweep(
        np.repeat(numbers, S)[:, None],
        values.reshape(bench.features * S, 1, *values.shape[2:]),
        f"truth {kind.name}",
    )
    change = ran.outcome.reshape(bench.features, S, bench.prompts, -1) - bench.clean
    by_token = step.reshape(*step.shape[:3], -1)
    predicted = np.einsum(
        "kspt,kpto->kspo", np.nan_to_num(np.broadcast_to(by_token, _tokens(by_token, slope))), slope
    )
    tokens = np.isfinite(clean.reshape(*clean.shape[:2], -1)).sum(axis=2)
    written = np.isfinite(by_token).any(axis=3) & (np.nan_to_num(by_token) != 0).any(axis=3)
    moved = np.where(written, np.nan_to_num(by_token).sum(axis=3) / tokens[:, None], np.nan)
    swapped = {"change": change, "predicted": predicted, "moved": moved}
    made = {name: np.swapaxes(value, 0, 1) for name, value in swapped.items()}
    return made | {"read_back": ran.read_back.reshape(bench.features, S).T.reshape(shape[:2])}


def _tokens(by_token: np.ndarray, slope: np.ndarray) -> tuple[int, ...]:
    """A shift of a mean moves every token by the same step."""
    return (*by_token.shape[:3], slope.shape[2])


def digest(table: TruthTable) -> str:
    """SHA-256 of a table's arrays."""
    h = hashlib.sha256()
    for name in ARRAYS:
        h.update(np.ascontiguousarray(getattr(table, name)).tobytes())
    return h.hexdigest()


def write(table: TruthTable, path: Path) -> None:
    """Write a table with its digest."""
    path.parent.mkdir(parents=True, exist_ok=True)
    names = {n: np.array(getattr(table, n)) for n in ("arms", "features", "outcomes")}
    about = json.dumps(table.about | {"digest": digest(table)}, indent=1)
    np.savez_compressed(path, **names, **{n: getattr(table, n) for n in ARRAYS}, about=np.array(about))


def read(path: Path) -> TruthTable:
    """Read a table; one whose arrays are not those that were written is refused."""
    with np.load(path) as file:
        names = {n: tuple(file[n].tolist()) for n in ("arms", "features", "outcomes")}
        table = TruthTable(**names, **{n: file[n] for n in ARRAYS}, about=json.loads(str(file["about"])))
    if digest(table) != table.about["digest"]:
        raise SystemExit(f"{path}: its arrays are not those it was written with. Make it anew")
    return table


def main() -> None:
    """Make one network's table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("network", choices=NETWORKS)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS)
    parser.add_argument("--out", type=Path, default=HERE / "truth")
    parser.add_argument("--work", type=Path, default=Path("runs/truth"))
    given = parser.parse_args()
    torch.set_num_threads(1)
    started = time.time()
    table = table_of(NETWORKS[given.network](given.work), given.kinds)
    command = f"python benchmarks/effects/truth_tables.py {given.network}"
    only = "" if len(given.kinds) == len(KINDS) else f" --kinds {' '.join(given.kinds)}"
    table.about["command"] = command + only
    table.about["minutes"] = round((time.time() - started) / 60, 1)
    path = given.out / f"{given.network}.npz"
    write(table, path)
    A, K, P, O = table.change.shape
    print(f"{path}: {A} arms x {K} features x {P} prompts x {O} outcomes, {path.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
