"""The fixed runner: one specification in, one set of facts and one curve out.

Everything in this folder changes a result and nothing else is in it: its digest is frozen into the rule locks.
It knows no rule, no gate and no study. Importing the package costs nothing; `trainer.loop` is what imports torch.

    python -m trainer --spec spec.json --corpus artifacts/corpus
"""

import os

# How long a thread of GNU OpenMP spins before it sleeps; read when torch is loaded, so it must stand here. The
# default of 300,000 rounds makes a run 10 times slower as soon as anything else wants a core (measured on 2 cores:
# 12,000 tokens/s fell to 1,100); no result depends on it.
os.environ.setdefault("GOMP_SPINCOUNT", "10000")
