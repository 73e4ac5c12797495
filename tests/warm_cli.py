"""The command line as a process, without its imports each time.

``command("mr", "data.csv")`` is ``python -m mrinterp mr data.csv`` in a child of one process that has
imported everything and run nothing: streams, exit code, folder and environment of its own, as a new process
has them; its figures are drawn where those of the test are. What is tested about a start itself (what is imported, signals, hash seeds) still starts one.
"""

from __future__ import annotations

import atexit
import functools
import gc
import importlib
import json
import os
import pkgutil
import runpy
import subprocess
import sys
import tempfile
import traceback
from pathlib import Path
from typing import IO, Any

import pytest

from tests.pictures import UNDRAWN, Pictures, leave_out

ROOT = Path(__file__).parents[1]
HEAVY = (
    "scipy.stats",
    "pyarrow.parquet",
    "matplotlib.pyplot",
    "transformers.models.bert.modeling_bert",
    "transformers.models.gpt2.modeling_gpt2",
    "transformers.models.auto.modeling_auto",
)


def command(
    *arguments: object, cwd: Path | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run ``mrinterp`` in a process forked from the warm one; the environment is ours with these changes."""
    server = _server()
    with tempfile.TemporaryDirectory() as folder:
        out, err = Path(folder) / "out", Path(folder) / "err"
        words = [str(a) for a in arguments]
        asked = {
            "arguments": words,
            "folder": str(cwd or Path.cwd()),
            "environment": os.environ | environment | ({} if Pictures.drawn else {UNDRAWN: "yes"}),
            "streams": [str(out), str(err)],
        }
        print(json.dumps(asked), file=server.stdin, flush=True)
        assert server.stdout is not None
        code = int(server.stdout.readline())
        said = [path.read_text(encoding="utf-8") for path in (out, err)]
    return subprocess.CompletedProcess(["mrinterp", *words], code, *said)


@functools.cache
def _server() -> subprocess.Popen[str]:
    """One a test process, started by the first command."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.warm_cli"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    atexit.register(process.communicate)  # the end of its input is its end
    return process


@functools.cache
def import_everything() -> None:
    """What commands import, so that children have it already."""
    import mrinterp

    for name in (
        *HEAVY,
        *(m.name for m in pkgutil.walk_packages(mrinterp.__path__, "mrinterp.") if "__main__" not in m.name),
    ):
        try:
            importlib.import_module(name)
        except ImportError:  # optional parts
            continue


def _become(asked: dict[str, Any]) -> None:
    """Be the process that was asked for: its streams, folder, environment and arguments."""
    read = os.open(os.devnull, os.O_RDONLY)
    files = [read, *(os.open(s, os.O_WRONLY | os.O_CREAT | os.O_TRUNC) for s in asked["streams"])]
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    sys.stdin = sys.__stdin__ = _stream(0, "r")  # type: ignore[misc]
    sys.stdout = sys.__stdout__ = _stream(1, "w")  # type: ignore[misc]
    sys.stderr = sys.__stderr__ = _stream(2, "w")  # type: ignore[misc]
    os.environ.clear()
    os.environ.update(asked["environment"])
    os.chdir(asked["folder"])
    sys.path[0] = asked["folder"]
    sys.argv = ["mrinterp", *asked["arguments"]]
    if os.environ.pop(UNDRAWN, ""):
        Pictures.drawn = False
        leave_out(pytest.MonkeyPatch())


def _stream(number: int, mode: str) -> IO[str]:
    return open(number, mode, encoding="utf-8", closefd=False)


def _serve() -> bool:
    """Fork for each line; true in a child, false at the end."""
    for line in sys.stdin:
        child = os.fork()
        if not child:
            _become(json.loads(line))
            return True
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
    return False


def _run() -> int:
    """Run the command line as ``python -m`` would; the code that it would exit with."""
    try:
        runpy.run_module("mrinterp", run_name="__main__", alter_sys=True)
    except SystemExit as ended:
        if isinstance(ended.code, str):
            print(ended.code, file=sys.stderr)
        return ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


if __name__ == "__main__":
    import_everything()
    gc.collect()
    gc.freeze()  # children share these pages
    if _serve():
        code = _run()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)  # taking everything down that was imported takes longer than most commands
