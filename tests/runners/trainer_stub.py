"""A trainer as other people write them, with the standard library alone: it minimises a parabola and prints what it does.

    python tests/runners/trainer_stub.py --seed=1 --steps=20 --lr=0.1 --mode=normal

Modes: normal, nan, inf, fail (a line and exit 1), oom (a line and exit 1), hang, no_score, crash, carriage (CR progress
bars), ignores_seed, orphan (a child that outlives it), flood (50 MB of output), json (the score in a file), echo (its
environment), slow (more seconds than its budget), stubborn (ignores SIGTERM).
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import time


def main() -> int:
    parser = argparse.ArgumentParser()
    for name, default in (("seed", 1), ("steps", 20), ("lr", 0.1), ("mode", "normal"), ("out", ""), ("data", "")):
        parser.add_argument(f"--{name}", type=type(default), default=default)
    options = parser.parse_args()
    mode = options.mode
    noise = random.Random(0 if mode == "ignores_seed" else options.seed)
    if mode == "stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if mode == "echo":
        print("variables:", " ".join(sorted(os.environ)))
    if mode == "orphan":
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        print("child:", child.pid, flush=True)
    position, loss = 5.0, 25.0
    for step in range(1, options.steps + 1):
        position -= options.lr * (2 * position + noise.gauss(0, 0.2))
        loss = position * position + 1
        end = "\r" if mode == "carriage" else "\n"
        print(f"\x1b[32mstep {step}\x1b[0m | loss {loss:.4f}", end=end, flush=True)
        if mode in ("hang", "stubborn") and step == 2:
            time.sleep(600)
    if mode == "flood":
        print("val_loss: 99.000000 (an early one)")
        for _ in range(50):
            sys.stdout.write(("x" * 99 + "\n") * 10_000)
    if mode == "oom":
        print("RuntimeError: CUDA out of memory. Tried to allocate 20 GiB")
        return 1
    if mode == "fail":
        print("FAIL")
        return 1
    if mode == "crash":
        print("Traceback: something that nobody foresaw")
        return 3
    if mode == "no_score":
        return 0
    score = {"nan": "nan", "inf": "inf"}.get(mode, f"{loss:.7f}")
    if mode == "json":
        with open(os.path.join(options.out, "meta.json"), "w", encoding="utf-8") as file:  # noqa: PTH123, PTH118
            file.write(json.dumps({"eval": {"loss": float(score)}, "steps": options.steps}))
    else:
        print(f"training_seconds:   {options.steps / 10 + (60 if mode == 'slow' else 0)}")
        print(f"num_steps:   {options.steps}")
        print(f"val_loss:   {score}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
