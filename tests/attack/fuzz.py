"""Attacks the commands with damaged files for a while, and prints what came of it.

    python tests/attack/fuzz.py --seconds 120 --seed 1
    python tests/attack/fuzz.py --seconds 36000 --only audio

Exit code 1 if anything happened that must not: a traceback, a hang, a missing row, a process above 1 GiB, a
file left behind. What led to each is kept under --keep; the same seed and round make it again.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "helpers")]

from targets import TARGETS, Target  # noqa: E402  (a script: these folders are no package)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="the round to begin with")
    parser.add_argument("--only", action="append", choices=list(TARGETS))
    parser.add_argument("--keep", type=Path, default=Path("attack-findings"))
    options = parser.parse_args()
    names = [name for name, (_, share) in TARGETS.items() for _ in range(share)]
    names = [name for name in names if not options.only or name in options.only]
    targets: dict[str, Target] = {}
    outcomes: dict[str, Counter[str]] = {name: Counter() for name in names}
    findings = 0
    end = time.monotonic() + options.seconds
    number = options.first
    while time.monotonic() < end:
        name = names[number % len(names)]
        if name not in targets:
            targets[name] = TARGETS[name][0]()
        with tempfile.TemporaryDirectory(prefix="mer-attack-") as folder:
            done = targets[name](Path(folder), random.Random(f"{options.seed} {name} {number}"))
            for finding in done.findings:
                print(f"FINDING {name}, round {number}: {finding}", flush=True)
            if done.findings:
                shutil.copytree(folder, options.keep / f"{name}-{options.seed}-{number}", dirs_exist_ok=True)
        outcomes[name] += done.outcomes + Counter(rounds=1)
        findings += len(done.findings)
        number += 1
    for name, counts in outcomes.items():
        print(f"{name:9} " + ", ".join(f"{count} {what}" for what, count in sorted(counts.items())))
    print(f"seed {options.seed}, rounds {options.first} to {number - 1}: {findings} findings")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
