"""The clone that a forger may change, as the tests of verification have it."""

from tests.verify.conftest import clone, shared_clone

__all__ = ["clone", "shared_clone"]
