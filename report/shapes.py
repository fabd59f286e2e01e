"""The shapes of artifacts that the site reads besides records, decisions and summaries, as far as pages need them.

What does not fit is an error that names the file, the place in it and the remedy: a page must not fail half-way. Keys
that no page reads may come and go.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from stages.domain.schema import Key, Recorded


class CorpusManifest(Recorded):
    """artifacts/corpus/manifest.json, as far as the page on method shows it."""

    schema_: Annotated[Literal[1], Field(alias="schema")]
    source: dict[str, Any]
    splits: dict[str, dict[str, Any]]


class ModelFile(Recorded):
    """artifacts/protocol/configs.json: the model that each configuration builds."""

    schema_: Annotated[Literal[1], Field(alias="schema")]
    configs: dict[Key, dict[str, Any]]
