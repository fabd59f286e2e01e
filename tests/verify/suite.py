"""The whole tamper suite: importing a part registers its manipulations."""

from tests.verify import (
    tamper_artifacts,
    tamper_elsewhere,
    tamper_facts,
    tamper_files,
    tamper_hindsight,
    tamper_locked,
    tamper_past,
    tamper_pending,
    tamper_pipelines,
    tamper_records,
    tamper_rules,
    tamper_stories,
    tamper_unreadable,
)
from tests.verify.tamper import MANIPULATIONS, Manipulation

PARTS = (
    tamper_records,
    tamper_rules,
    tamper_locked,
    tamper_facts,
    tamper_past,
    tamper_pending,
    tamper_files,
    tamper_artifacts,
    tamper_hindsight,
    tamper_stories,
    tamper_elsewhere,
    tamper_pipelines,
    tamper_unreadable,
)

__all__ = ["MANIPULATIONS", "PARTS", "Manipulation"]
