"""The fixed runner: one specification in, one set of facts and one curve out.

What a run's facts depend on is in this folder, with the checkpoints by which a killed run ends with the same facts. Its
digest is frozen into the rule locks. What only shows or describes a run is elsewhere: its progress in a terminal
(`stages/progress.py`), machine, versions and peak of the GPU (`stages/runners/device.py`), the command that trains by
hand (`promotion train`). It knows no rule, no gate and no study. Importing the package costs nothing; `trainer.loop` is
what imports torch.
"""

import os

# How long a thread of GNU OpenMP spins before it sleeps; read when torch is loaded, so it must stand here. The
# default of 300,000 rounds makes a run 10 times slower as soon as anything else wants a core (measured on 2 cores:
# 12,000 tokens/s fell to 1,100); no result depends on it.
os.environ.setdefault("GOMP_SPINCOUNT", "10000")
