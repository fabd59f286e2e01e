"""`dvc commit --force` of many stages at once, without a look at git for every output.

    python -m stages.hosts.dvc_commit STAGE ...

DVC asks git of every output whether it is tracked, and reads git's whole index each time: 0.2 s a run in a repository
of 10,000 files. Outputs of runs lie in artifacts/, which git ignores, so DVC is told that there is no git.
"""

from __future__ import annotations

import sys

from stages.domain.errors import Refused, main_guard


def main() -> None:
    """Commit the stages that the command line names."""
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    with Repo(config={"core": {"no_scm": True}}) as repo:
        for stage in sys.argv[1:]:
            try:
                repo.commit(stage, force=True)
            except DvcException as error:
                raise Refused(f"{stage}: {error}") from None


if __name__ == "__main__":
    main_guard(main)
