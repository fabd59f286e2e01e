"""What brings back artifacts that are not here: `dvc pull` where DVC has a remote, else `dvc repro`.

    restore_command(Path(), "winner")      dvc pull winner

Reads .dvc/config and .dvc/config.local as text, without DVC, whose import takes longer than what asks.
"""

from __future__ import annotations

from pathlib import Path

from stages.dvcfiles.config import BadConfig, read_config


def restore_command(root: Path, target: str = "") -> str:
    """The command for one stage, or for all. Without a remote `dvc repro` takes the cache, or trains anew."""
    return f"dvc {'pull' if has_remote(root) else 'repro'} {target}".rstrip()


def has_remote(root: Path) -> bool:
    """Whether the DVC repository around `root` has a default remote, which is what `dvc pull` asks."""
    root = root.resolve()
    folder = next((place / ".dvc" for place in (root, *root.parents) if (place / ".dvc").is_dir()), None)
    if folder is None:
        return False
    try:
        return bool(read_config(folder).get("core", {}).get("remote"))
    except (OSError, BadConfig):
        return False  # DVC does not read it either
