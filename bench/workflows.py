"""actionlint over the workflows, where it can be had: it is a program in Go, and no package of Python brings it.

    python -m bench.workflows          part of `make check`

An `actionlint` of the pinned version on the path is taken; else Go builds it into the environment, once, and compares
its source with the checksum database. Where neither works this says so and ends with 0: the workflow `ci` runs it on
every push and pull request.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

#: The version that `.github/workflows/ci.yml` names too; a test compares them.
VERSION = "1.7.12"
#: What is left out are the linters of other languages that it would start, where a machine has them.
OPTIONS = ("-shellcheck=", "-pyflakes=")


def find_program() -> str | None:
    """The pinned actionlint of this machine; None where there is none and Go cannot build it."""
    program = shutil.which("actionlint")
    if program is not None and _read_version(program) == VERSION:
        return program
    built = Path(sys.prefix, "Scripts" if os.name == "nt" else "bin", f"actionlint-{VERSION}")
    if _read_version(str(built)) != VERSION and (go := shutil.which("go")):
        with tempfile.TemporaryDirectory() as folder:
            words = [go, "install", f"github.com/rhysd/actionlint/cmd/actionlint@v{VERSION}"]
            if subprocess.run(words, env={**os.environ, "GOBIN": folder}, check=False).returncode == 0:
                shutil.move(next(Path(folder).iterdir()), built)
    return str(built) if built.is_file() else None


def _read_version(program: str) -> str:
    """The version that a program says it has, without its `v`; empty where it cannot be started."""
    try:
        answer = subprocess.run([program, "-version"], capture_output=True, encoding="utf-8", check=False).stdout
    except OSError:
        return ""
    return answer.partition("\n")[0].strip().removeprefix("v")


def main() -> int:
    """Run it; its exit status, or 0 with a message where it cannot be had."""
    program = find_program()
    if program is None:
        print(
            f"actionlint {VERSION} was NOT run: it is not installed here, and no Go could build it; the workflow `ci` "
            f"runs it (https://github.com/rhysd/actionlint/releases/tag/v{VERSION})",
            file=sys.stderr,
        )
        return 0
    return subprocess.run([program, *OPTIONS], check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
