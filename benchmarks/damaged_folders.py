"""Damaged run folders and mutated study files: is every damage named or mended, and none met by a traceback?

    python benchmarks/damaged_folders.py --damages 500 --studies 800 [--seed 0] [--out FILE]

Each damage (a file emptied, cut, flipped, zeroed, longer, gone, a folder, another file's bytes, other text) is met by
reading its part through Python, and many (``--end-each``) by reading everything and running the study again, after which the message's
own advice is followed and the bytes are compared with those of a whole run, lists of sums among them. Figures and page
are drawn again in some of these runs only (``--draw-each``), and always where they were damaged. Mutated study files are
read, designed, or refused in one message. It counts:

named        what is said begins with the path of the damaged file (or of its part, where all of it is another's)
healed       the run made it anew, the same bytes, and said so (what every run draws anew needs no word)
TRACEBACK, SILENT, UNSAID, unnamed, not mended    failures, each printed
"""

from __future__ import annotations

import argparse
import collections
import os
import shutil
import sys
import tempfile
import time
import traceback
from contextlib import nullcontext
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["TQDM_DISABLE"] = "1"
sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np

from mrinterp.study import Study
from tests.core.test_fuzz_studies import mutated_studies
from tests.study.damages import (
    DAMAGES,
    DRAWN,
    damage,
    digest_with_sums,
    files,
    names,
    read,
    run_to_the_end,
    undrawn,
)
from tests.tiny import save_tiny_encoder, write_tiny_study

FAILURES = ("TRACE", "SILENT", "UNSAID", "silent", "unnamed", "not mended")
Found = dict[str, collections.Counter[str]]


def damaged_folders(folder: Path, study: Path, options: argparse.Namespace) -> Found:
    """Outcomes of damages by kind, one file and one kind at a time, the same of every file before the next kind comes."""
    whole, out = folder / "whole", folder / "run"
    Study.from_toml(study, whole).run()
    bytes_of_whole, rng = digest_with_sums(whole), np.random.default_rng(options.seed)
    found: Found = collections.defaultdict(collections.Counter)
    stored = [p.relative_to(whole) for p in files(whole) if p.relative_to(whole).match(options.only)]
    order = rng.permutation(len(stored)) if options.seed else np.arange(len(stored))
    shutil.copytree(whole, out)
    for number in range(options.damages):
        name = stored[order[number % len(stored)]]
        kind = DAMAGES[(number // len(stored) + number + options.seed) % len(DAMAGES)]
        if not damage(out / name, kind, rng, files(whole)):
            found[kind]["unchanged"] += 1
            continue
        before = (out / name).read_bytes() if (out / name).is_file() else (out / name).exists()
        ends, drawn = number % options.end_each == 0, name.parts[0] in DRAWN
        try:
            said = read(out, None if ends else name)
            named = (
                "read: named" if names(said, out / name) else "read: drawn anew" if drawn else "read: SILENT"
            )
            if "SILENT" in named:
                print("READ", name, kind, said)
            found[kind][named] += 1
            if ends:
                _put(before, out / name)  # reading a folder that lacks its answer makes it anew
                with undrawn() if not drawn and number % options.draw_each else nullcontext():
                    ended, words = run_to_the_end(study, out, out / name, bytes_of_whole)
                found[kind][f"run: {ended}"] += 1
                if ended not in ("named", "healed"):
                    print("RUN", name, kind, ended, words)
        except Exception:
            found[kind]["TRACEBACK"] += 1
            print(name, kind, traceback.format_exc())
        _restored(whole, out, name, ends)
    return found


def _put(damaged: bytes | bool, path: Path) -> None:
    """Damage once more in the same way: these bytes, or a folder (True), or nothing there."""
    if isinstance(damaged, bytes):
        path.write_bytes(damaged)
    elif not damaged:
        path.unlink(missing_ok=True)


def _restored(whole: Path, out: Path, name: Path, all_of_it: bool) -> None:
    """Put back what was damaged; all of the folder where a run may have changed more than the file."""
    if all_of_it:
        shutil.rmtree(out)
        shutil.copytree(whole, out)
        return
    if (out / name).is_dir():
        shutil.rmtree(out / name)
    shutil.copy(whole / name, out / name)


def table(found: Found) -> str:
    """Counts by kind of damage and outcome, as Markdown."""
    outcomes = sorted({o for counts in found.values() for o in counts})
    lines = [f"| damage | {' | '.join(outcomes)} |", "|---" * (len(outcomes) + 1) + "|"]
    total: collections.Counter[str] = collections.Counter()
    for kind in (k for k in DAMAGES if k in found):
        total += found[kind]
        lines.append(f"| {kind} | {' | '.join(str(found[kind][o]) for o in outcomes)} |")
    lines.append(f"| all | {' | '.join(str(total[o]) for o in outcomes)} |")
    return "\n".join(lines)


def main() -> None:
    """Run both, print the counts, and write them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--damages", type=int, default=500)
    parser.add_argument("--end-each", type=int, default=5, help="every which damage is also run to the end")
    parser.add_argument("--draw-each", type=int, default=50, help="every which damage is drawn to the end")
    parser.add_argument("--studies", type=int, default=800)
    parser.add_argument(
        "--only", default="*", help="names of the files that are damaged, for example '*.json'"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="where to write the counts (Markdown)")
    options = parser.parse_args()
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        encoder = save_tiny_encoder(folder / "encoder")
        study = write_tiny_study(folder, encoder)
        refused, accepted, others = mutated_studies(folder, options.studies, seed=options.seed + 7)
        said = f"{options.studies} mutated study files: {refused} refused in one message, {accepted} designed"
        said += f", {len(others)} tracebacks"
        print("\n".join([*others, said]), flush=True)
        found = damaged_folders(folder, study, options)
    failed = [o for counts in found.values() for o in counts if any(word in o for word in FAILURES)]
    head = f"{options.damages} damages of one file of a finished run, seed {options.seed}: {len(failed)} kinds of failure"
    print(f"{head}\n\n{table(found)}\n\n{time.perf_counter() - start:.0f} s")
    if options.out:
        options.out.write_text(
            f"# Damaged run folders\n\n`python benchmarks/damaged_folders.py`\n\n{head}.\n\n{table(found)}\n\n{said}.\n"
        )
    sys.exit(bool(failed or others))


if __name__ == "__main__":
    main()
