"""Many files at a time: by how many processes, and which of the names are inputs."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from lit_rnncomp.codec import batch, names
from lit_rnncomp.codec.names import Pair, Plan
from lit_rnncomp.files import OutputError
from lit_rnncomp.progress import Progress


def who(pair: Pair, progress: Progress) -> batch.Done:
    """Says which process did the work."""
    return batch.Done("", {"process": os.getpid(), "threads": os.environ.get("OPENBLAS_NUM_THREADS")})


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="the system has no affinity of processes")
@pytest.mark.parametrize("allowed", [1, 2])
def test_no_more_processes_than_cores_that_may_be_used(allowed: int, tmp_path: Path, capsys, monkeypatch) -> None:
    before = os.sched_getaffinity(0)
    if len(before) < 2:
        pytest.skip("there is one core")
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        monkeypatch.setenv(name, "")  # so that it is put back
        monkeypatch.delenv(name)
    pairs = [Pair(str(tmp_path / name), str(tmp_path / f"{name}.rnnc")) for name in "abcd"]
    os.sched_setaffinity(0, sorted(before)[:allowed])
    try:
        batch.run(who, Plan(pairs, True), workers=0, as_json=True)
    finally:
        os.sched_setaffinity(0, before)
    done = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    processes = {one["process"] for one in done}
    assert len(done) == 4 and len(processes) == allowed and (os.getpid() in processes) == (allowed == 1)
    assert {one["threads"] for one in done} == {None if allowed == 1 else "1"}


def test_one_name_that_ends_in_rnnc_is_the_output() -> None:
    assert names.encoding(["a.jpg", "b.jpg.rnnc"], None).pairs == [Pair("a.jpg", "b.jpg.rnnc")]
    with pytest.raises(OutputError, match=r"writes one file that ends in \.rnnc, not b\.rnnc, c\.rnnc"):
        names.encoding(["a.jpg", "b.rnnc", "c.rnnc"], None)
