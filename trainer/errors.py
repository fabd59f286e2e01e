"""The errors of the runner: what a person can mend, said in one sentence with the place and the remedy."""

from __future__ import annotations


class TrainerError(ValueError):
    """Whatever the runner refuses; its text names the place, what was found, what was expected, the remedy."""


class SpecError(TrainerError):
    """The specification is not one that can be run."""


class CorpusError(TrainerError):
    """The corpus folder is missing, changed, or too small for what is asked of it."""


class HostError(TrainerError):
    """This machine cannot run what the host block asks for."""
