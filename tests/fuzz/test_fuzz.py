"""A bounded run of the fuzzer, and what once failed."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from .check import Check
from .mutants import Mutant, mutant


@pytest.fixture(scope="module")
def check() -> Check:
    return Check()


def test_the_files_themselves_decode(check: Check) -> None:
    for file in check.files:
        check(Mutant(file, repaired=False))
    assert check.counts["damaged, decoded"] == len(check.files)


def test_some_hundred_mutants(check: Check) -> None:
    random = Random(0)
    check.counts.clear()
    for _ in range(300):
        check(mutant(check.files, random))
    assert check.counts["repaired, decoded"] > 10 and check.counts["repaired, refused"] > 100
    assert check.counts["damaged, refused"] > 80


@pytest.mark.parametrize("file", sorted((Path(__file__).parent / "corpus").iterdir()), ids=lambda file: file.stem)
def test_what_once_failed(check: Check, file: Path) -> None:
    check(Mutant(file.read_bytes(), repaired=True))
