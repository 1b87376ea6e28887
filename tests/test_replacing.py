"""Files are replaced whole or not at all, and errors name them."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest
from helpers.commands import files

from lit_rnncomp.files import Output, OutputError, check_folder, replacing, write_bytes

PHOTOGRAPH = b"somebody's photograph"


def test_new_files_have_the_mode_of_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_bytes(tmp_path / "a", b"")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o640


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root gives files away")
def test_the_owner_stays(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"")
    os.chown(tmp_path / "a", 1234, 1234)
    write_bytes(tmp_path / "a", b"b")
    assert ((tmp_path / "a").stat().st_uid, (tmp_path / "a").stat().st_gid) == (1234, 1234)


def test_what_came_into_being_during_the_work_stays(tmp_path: Path) -> None:
    output = Output(tmp_path / "a.rnnc")
    (tmp_path / "a.rnnc").write_bytes(PHOTOGRAPH)
    with pytest.raises(OutputError, match="already exists"):
        write_bytes(output, b"work")
    assert files(tmp_path) == {"a.rnnc": PHOTOGRAPH}


@pytest.mark.parametrize("named", [True, False], ids=["of the file", "of no file"])
def test_errors_name_the_target(tmp_path: Path, named: bool) -> None:
    """Of a full disk the system says which file it was, or not; nobody knows the temporary one."""
    target = tmp_path / "a.rnnc"
    with pytest.raises(OSError) as raised, replacing(target) as temporary:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), *([str(temporary)] if named else []))
    assert str(raised.value) == f"cannot write {target}: No space left on device"
    assert not files(tmp_path)
    with pytest.raises(FileNotFoundError, match="missing"), replacing(target):
        (tmp_path / "missing").read_bytes()


def test_a_folder_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "table.json").write_bytes(b"{}")
    check_folder(tmp_path, True, ["table.json", "missing.png"])
    with pytest.raises(OutputError, match=r"table\.json already exists"):
        check_folder(tmp_path, False, ["table.json"])
