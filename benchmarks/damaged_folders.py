"""Damaged run folders and mutated study files: is every damage named or mended, and none met by a traceback?

    python benchmarks/damaged_folders.py --damages 500 --studies 800 [--out FILE]

Each damage (a file emptied, cut, flipped, zeroed, longer, gone, a folder, another file's bytes, other text) is met twice: by
reading everything through Python, and by running the study again, after which the message's own advice is followed
and the bytes are compared with those of a whole run. Mutated study files are read, designed, or refused in one message.
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
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["TQDM_DISABLE"] = "1"
sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np

from mrinterp.core.storage import digest_files
from mrinterp.study import Study
from tests.core.test_fuzz_studies import mutated_studies
from tests.study.damages import DAMAGES, DRAWN, damage, files, read, run_to_the_end
from tests.tiny import save_tiny_encoder, write_tiny_study


def damaged_folders(folder: Path, study: Path, count: int, end_each: int) -> collections.Counter[str]:
    """Outcomes of damages, one file and one kind at a time, the same of every file before the next kind comes."""
    whole = folder / "whole"
    Study.from_toml(study, whole).run()
    bytes_of_whole, rng = digest_files(whole), np.random.default_rng(0)
    found: collections.Counter[str] = collections.Counter()
    names = [p.relative_to(whole) for p in files(whole)]
    out = folder / "run"
    shutil.copytree(whole, out)
    for number in range(count):
        name, kind = names[number % len(names)], DAMAGES[(number // len(names) + number) % len(DAMAGES)]
        if not damage(out / name, kind, rng, files(whole)):
            found["unchanged"] += 1
            continue
        try:
            said = read(out)
            named = any(str(out / name) in s or str((out / name).parent) in s for s in said)
            outcome = (
                "read: named" if named else "read: drawn anew" if name.parts[0] in DRAWN else "read: SILENT"
            )
            if number % end_each == 0:
                ended, words = run_to_the_end(study, out, out / name, bytes_of_whole)
                found[f"run: {ended}"] += 1
                if ended not in ("named", "healed"):
                    print("RUN", name, kind, ended, words)
        except Exception:
            outcome = "TRACEBACK"
            print(name, kind, traceback.format_exc())
        if outcome.isupper() or "SILENT" in outcome:
            print(name, kind, outcome)
        found[outcome] += 1
        if number % end_each == 0:  # the run may have changed more than the file
            shutil.rmtree(out)
            shutil.copytree(whole, out)
        else:
            shutil.rmtree(out / name, ignore_errors=True)
            (out / name).unlink(missing_ok=True)
            shutil.copy(whole / name, out / name)
    return found


def main() -> None:
    """Run both and print the counts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--damages", type=int, default=500)
    parser.add_argument("--end-each", type=int, default=5, help="every which damage is also run to the end")
    parser.add_argument("--studies", type=int, default=800)
    options = parser.parse_args()
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        encoder = save_tiny_encoder(folder / "encoder")
        refused, accepted = mutated_studies(folder, options.studies, seed=7)
        print(f"mutated study files: {refused} refused in one message, {accepted} designed, 0 tracebacks")
        found = damaged_folders(folder, write_tiny_study(folder, encoder), options.damages, options.end_each)
    for outcome, number in sorted(found.items()):
        print(f"{outcome}: {number}")
    print(f"{time.perf_counter() - start:.0f} s")
    if any(
        word in outcome
        for outcome in found
        for word in ("TRACE", "SILENT", "silent", "unnamed", "not mended")
    ):
        sys.exit(1)


if __name__ == "__main__":
    main()
