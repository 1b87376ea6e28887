"""`python -m fuzz`, see the package."""

from __future__ import annotations

import argparse
import hashlib
import sys
import time
from pathlib import Path
from random import Random

from .check import Check, Failure
from .mutants import mutant

CORPUS = Path(__file__).parent / "corpus"


def main() -> None:
    parser = argparse.ArgumentParser(description="Decode mutants of small files.")
    parser.add_argument("--minutes", type=float, default=1)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    check, random, failures = Check(), Random(arguments.seed), 0
    end = time.monotonic() + 60 * arguments.minutes
    while time.monotonic() < end:
        made = mutant(check.files, random)
        try:
            check(made)
        except Failure as failure:
            failures += 1
            kept = CORPUS / f"{hashlib.sha256(made.data).hexdigest()[:12]}.rnnc"
            kept.write_bytes(made.data)
            print(f"{kept}: {failure}", file=sys.stderr)
    print(f"seed {arguments.seed}: {dict(sorted(check.counts.items()))}, {failures} failures")
    sys.exit(failures > 0)


if __name__ == "__main__":
    main()
