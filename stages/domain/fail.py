"""How a command ends when it cannot do its work: one message that stands alone on stderr, and exit status 2.

Everything that this project expects to go wrong is a ValueError or an OSError whose message names the file, the place,
what was found, what was expected and the remedy. Anything else is a bug and keeps its traceback.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

FAILED = 2


class Refused(ValueError):
    """A command that will not go on, for a reason its message states."""


def main_guard(main: Callable[[], int | None]) -> None:
    """Run `main` as a program: its return value is the exit status, expected errors become one message and status 2."""
    try:
        code = main()
    except BrokenPipeError:  # whoever read our output has seen enough
        sys.stderr.close()
        sys.exit(0)
    except (ValueError, OSError) as error:
        if isinstance(error, ValueError) and type(error).__module__ in ("builtins", "json.decoder"):
            raise
        print(f"error: {error}", file=sys.stderr)
        sys.exit(FAILED)
    except KeyboardInterrupt:
        print("interrupted; nothing half-written is left behind", file=sys.stderr)
        sys.exit(130)
    sys.exit(code or 0)
