"""Replacing a file in one step: names, links, permissions, threads, failures."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from srcnn_fused._files import replacing


def write(path: Path, text: str) -> None:
    with replacing(path) as temporary:
        assert temporary.suffix == path.suffix
        temporary.write_text(text)


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


@pytest.fixture
def umask() -> Iterator[None]:
    before = os.umask(0o027)
    yield
    os.umask(before)


def test_a_name_as_long_as_a_folder_takes_can_be_written(tmp_path: Path) -> None:
    path = tmp_path / ("n" * 251 + ".png")
    write(path, "new")
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_two_writers_of_one_path_do_not_meet(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    both_are_writing = threading.Barrier(2, timeout=30)
    failures: list[BaseException] = []

    def replace(text: str) -> None:
        try:
            with replacing(path) as temporary:
                temporary.write_text(text)
                both_are_writing.wait()
                assert temporary.read_text() == text
                both_are_writing.wait()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=replace, args=(text,)) for text in ("one", "two")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert path.read_text() in ("one", "two")
    assert [file.name for file in tmp_path.iterdir()] == ["file.txt"]


@pytest.mark.parametrize("exists", [False, True])
def test_a_link_is_followed(exists: bool, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    target = tmp_path / "elsewhere" / "real.txt"
    if exists:
        target.write_text("old")
    link = tmp_path / "link.txt"
    link.symlink_to(Path("elsewhere") / "real.txt")
    write(link, "new")
    assert link.is_symlink()
    assert target.read_text() == "new"
    assert sorted(file.name for file in tmp_path.rglob("*")) == [
        "elsewhere",
        "link.txt",
        "real.txt",
    ]


def test_permissions_are_those_that_open_would_leave(umask: None, tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    write(path, "new")
    assert mode(path) == 0o640
    path.chmod(0o604)
    write(path, "newer")
    assert mode(path) == 0o604


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    path.write_text("old")

    def give_up_half_way() -> None:
        with replacing(path) as temporary:
            temporary.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        give_up_half_way()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
