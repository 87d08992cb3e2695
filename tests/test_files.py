"""Outputs: replaced as a whole, through links, into pipes; refused where that is not safe."""

import errno
import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from hf_adner import files
from hf_adner.data.formats import write_documents
from hf_adner.data.records import Document
from hf_adner.files import (
    check_folder,
    check_output,
    check_output_folder,
    is_stream,
    output_file,
    read_json,
    replace_folder,
    write_figure,
    write_file,
    write_folder,
    write_json,
)
from hf_adner.reporting import new_figure


def broken():
    yield Document("a", "瘙痒")
    raise RuntimeError("no more")


def text(path: Path) -> None:
    write_file(path, ["红斑", "\n"], "utf-8")


def figure(path: Path) -> None:
    write_figure(path, new_figure(1, 1), 50)


def documents(path: Path) -> None:
    write_documents([Document("a", "红斑")], path, "jsonl")


WRITERS = [(text, "red.txt"), (lambda path: write_json(path, {}), "red.json"), (documents, "red.jsonl"),
           (figure, "red.png"), (figure, "red.svg"), (figure, "red.pdf")]  # fmt: skip
every_writer = pytest.mark.parametrize(("write", "name"), WRITERS)


@pytest.mark.parametrize("format_name", ["jsonl", "brat", "html"])
def test_nothing_appears_when_writing_fails(tmp_path, format_name):
    with pytest.raises(RuntimeError, match="no more"):
        write_documents(broken(), tmp_path / "out", format_name)
    assert list(tmp_path.iterdir()) == []


def test_what_was_there_stays_when_writing_fails(tmp_path):
    path = tmp_path / "out.jsonl"
    write_documents([Document("old", "x")], path)
    before = path.read_bytes()
    with pytest.raises(RuntimeError):
        write_documents(broken(), path)
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


def test_folders_are_made_and_files_can_be_read_by_others(tmp_path):
    path = tmp_path / "new" / "out.jsonl"
    write_documents([Document("a", "x")], path)
    other = tmp_path / "plain"
    other.write_text("")
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE(other.stat().st_mode)


def test_a_folder_of_files_is_not_mixed_with_another(tmp_path):
    write_documents([Document("a", "x")], tmp_path / "out", "brat")
    with pytest.raises(FileExistsError, match="not an empty folder"):
        write_documents([Document("b", "x")], tmp_path / "out", "brat")
    (tmp_path / "empty").mkdir()
    assert write_documents([Document("b", "x")], tmp_path / "empty", "brat") == 1


@every_writer
def test_a_link_is_kept_and_its_target_written(write, name, tmp_path):
    (tmp_path / "folder").mkdir()
    target, link = tmp_path / "folder" / name, tmp_path / "link" / name
    link.parent.mkdir()
    link.symlink_to(f"../folder/{name}")
    for _ in ("new", "old"):
        write(link)
        assert link.is_symlink() and target.is_file() and not target.is_symlink() and target.stat().st_size > 2
    assert list(target.parent.iterdir()) == [target] and list(link.parent.iterdir()) == [link]


@every_writer
def test_a_pipe_is_written_and_stays_a_pipe(write, name, tmp_path):
    pipe, plain, link = tmp_path / name, tmp_path / f"plain-{name}", tmp_path / f"link-{name}"
    os.mkfifo(pipe)
    link.symlink_to(pipe)
    received = []
    reader = threading.Thread(target=lambda: received.append(pipe.read_bytes()))
    reader.start()
    write(link)
    reader.join()
    write(plain)
    assert stat.S_ISFIFO(pipe.lstat().st_mode) and len(received[0]) == plain.stat().st_size
    assert sorted(tmp_path.iterdir()) == sorted([pipe, plain, link]) and link.is_symlink()


def test_devices_and_descriptors_are_streams(tmp_path):
    (tmp_path / "null").symlink_to("/dev/null")
    (tmp_path / "out").symlink_to("/dev/stdout")
    (tmp_path / "file").touch()
    streams = ["/dev/null", "/dev/stdout", "/dev/fd/63", tmp_path / "null", tmp_path / "out"]
    assert all(map(is_stream, streams)) and not any(map(is_stream, [tmp_path, tmp_path / "file", tmp_path / "new"]))


@pytest.mark.parametrize("name", ["/proc/self/fd/1", "/dev/fd/1", "link"])
def test_standard_output_is_appended_to_even_if_it_is_a_file(name, tmp_path):
    (tmp_path / "link").symlink_to("/proc/self/fd/1")
    name = tmp_path / name  # an absolute name stays what it is
    code = f"from hf_adner.files import write_file; from pathlib import Path; print('before'); p = Path({str(name)!r})"
    code += "; write_file(p, ['within', chr(10)], 'utf-8'); print('after')"
    loader = (
        "import sys, types; sys.modules['hf_adner'] = m = types.ModuleType('hf_adner'); m.__path__ = sys.argv[1:2];"
    )
    (tmp_path / "out").write_text("earlier\n")
    with (tmp_path / "out").open("a") as file:
        call = [sys.executable, "-c", loader + code, str(Path(files.__file__).parent)]
        subprocess.run(call, stdout=file, check=True)
    assert (tmp_path / "out").read_text() == "earlier\nbefore\nwithin\nafter\n"


@every_writer
@pytest.mark.parametrize(
    ("place", "number", "reason"),
    [
        ("folder", errno.EISDIR, "is a folder, expected a file"),
        ("file/{}", errno.ENOTDIR, "file is a file, expected a folder"),
        ("file/new/{}", errno.ENOTDIR, "file is a file, expected a folder"),
        ("dangling", errno.ENOENT, "is a link into the folder .*/absent, which does not exist"),
        ("circle", errno.ELOOP, "is a link in a circle of links"),
        ("socket", errno.EINVAL, "is no file, pipe or terminal"),
    ],
)
def test_what_cannot_be_written_safely_is_refused(write, name, place, number, reason, tmp_path, monkeypatch):
    suffix = Path(name).suffix
    monkeypatch.chdir(tmp_path)
    (tmp_path / f"folder{suffix}").mkdir()
    (tmp_path / "file").write_text("kept")
    (tmp_path / f"dangling{suffix}").symlink_to(f"absent/{name}")
    (tmp_path / f"circle{suffix}").symlink_to("other")
    (tmp_path / "other").symlink_to(f"circle{suffix}")
    os.mknod(tmp_path / f"socket{suffix}", stat.S_IFSOCK | 0o600)
    before = sorted((path, path.lstat().st_mode) for path in tmp_path.iterdir())
    path = tmp_path / (place.format(name) if "{" in place else place + suffix)
    with pytest.raises(OSError, match=reason) as raised:
        write(path)
    assert (raised.value.errno, raised.value.filename) == (number, str(path))
    assert before == sorted((path, path.lstat().st_mode) for path in tmp_path.iterdir())
    assert (tmp_path / "file").read_text() == "kept"


def test_a_disk_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(Path, "is_file", lambda path: False)
    (tmp_path / "disk").write_text("")
    with pytest.raises(OSError, match="is no file, pipe or terminal"):
        check_output(tmp_path / "disk")


@pytest.mark.parametrize("protected", ["out", "."])
def test_permissions_are_respected(protected, tmp_path, monkeypatch):
    (tmp_path / "out").write_text("kept")
    denied = str(tmp_path / protected)  # root may write anywhere, so the answer of the system is replaced
    monkeypatch.setattr(files.os, "access", lambda path, mode: os.fspath(path) != denied.removesuffix("/."))
    with pytest.raises(PermissionError, match="may not be written") as raised:
        text(tmp_path / "out")
    assert raised.value.filename == str(tmp_path / "out") and (tmp_path / "out").read_text() == "kept"


def test_mode_and_owner_of_a_replaced_file_are_kept(tmp_path):
    text(tmp_path / "out")
    os.chmod(tmp_path / "out", 0o640)
    if os.geteuid() == 0:
        os.chown(tmp_path / "out", 12345, 12345)
    owner = (tmp_path / "out").stat().st_uid
    text(tmp_path / "out")
    assert stat.S_IMODE((tmp_path / "out").stat().st_mode) == 0o640 and (tmp_path / "out").stat().st_uid == owner


def test_the_longest_name_can_be_written(tmp_path):
    text(tmp_path / ("红" * 85))
    write_folder(tmp_path / ("斑" * 85), lambda folder: None)
    assert len(list(tmp_path.iterdir())) == 2


@every_writer
def test_a_full_disk_is_named_and_leaves_nothing(write, name, tmp_path, monkeypatch):
    (tmp_path / name).write_text("old")
    monkeypatch.setattr(files, "_Output", full_output)
    with pytest.raises(OSError, match="No space left on device") as raised:
        write(tmp_path / name)
    assert (raised.value.errno, raised.value.filename) == (errno.ENOSPC, str(tmp_path / name))
    assert (tmp_path / name).read_text() == "old" and len(list(tmp_path.iterdir())) == 1


def full_output(descriptor: int, path: Path):
    """Stand for a file on a full disk: the device that is always full."""
    os.dup2(os.open("/dev/full", os.O_WRONLY), descriptor)
    return OUTPUT(descriptor, path)


OUTPUT = files._Output


def test_a_full_disk_under_a_folder_is_named(tmp_path):
    def fill(folder: Path) -> None:
        (folder / "a").write_text("x")
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match="No space left") as raised:
        write_folder(tmp_path / "out", fill)
    assert raised.value.filename == str(tmp_path / "out") and list(tmp_path.iterdir()) == []


def test_a_folder_is_replaced_as_a_whole(tmp_path, monkeypatch):
    folder = tmp_path / "model"
    folder.mkdir(mode=0o750)
    (folder / "old").write_text("old")
    (tmp_path / "link").symlink_to(folder)
    replace_folder(tmp_path / "link", lambda place: (place / "new").write_text("new"))
    assert [path.name for path in folder.iterdir()] == ["new"] and stat.S_IMODE(folder.stat().st_mode) == 0o750
    real, calls = os.rename, []

    def rename(source, target):
        calls.append(target)
        if len(calls) == 2:
            raise OSError(errno.EIO, "broken disk")
        real(source, target)

    monkeypatch.setattr(os, "rename", rename)
    with pytest.raises(OSError, match="broken disk"):
        replace_folder(folder, lambda place: (place / "newer").write_text("newer"))
    assert [path.name for path in folder.iterdir()] == ["new"] and sorted(tmp_path.iterdir()) == [
        tmp_path / "link",
        folder,
    ]
    with pytest.raises(NotADirectoryError, match="is not a folder"):
        replace_folder(tmp_path / "none", lambda place: None)


@pytest.mark.parametrize("denied", ["model", "model/onnx", "model/onnx/weights"])
def test_a_folder_with_a_protected_part_is_not_replaced(tmp_path, monkeypatch, denied):
    (tmp_path / "model/onnx").mkdir(parents=True)
    (tmp_path / "model/onnx/weights").write_text("old")
    monkeypatch.setattr(files.os, "access", lambda path, mode: Path(path) != tmp_path / denied)
    with pytest.raises(PermissionError, match="may not be written") as raised:
        replace_folder(tmp_path / "model", lambda place: (place / "new").write_text("new"))
    assert raised.value.filename == str(tmp_path / denied)
    assert [path.name for path in tmp_path.rglob("*")] == ["model", "onnx", "weights"]


def test_an_error_of_the_content_keeps_its_own_name(tmp_path):
    def pieces():
        yield "a"
        raise FileNotFoundError(errno.ENOENT, "No such file", "input.txt")

    with pytest.raises(FileNotFoundError) as raised:
        write_file(tmp_path / "out", pieces(), "utf-8")
    assert raised.value.filename == "input.txt" and list(tmp_path.iterdir()) == []


def test_a_link_to_a_folder_is_kept(tmp_path):
    (tmp_path / "real").mkdir(mode=0o750)
    (tmp_path / "link").symlink_to("real")
    write_folder(tmp_path / "link", lambda folder: (folder / "a").touch())
    assert (tmp_path / "link").is_symlink() and stat.S_IMODE((tmp_path / "real").stat().st_mode) == 0o750
    assert (tmp_path / "real" / "a").exists()


def test_checks_write_nothing(tmp_path):
    (tmp_path / "file").touch()
    for check in (check_output, check_output_folder, check_folder):
        check(tmp_path / "new" / "deep" / "out")
        with pytest.raises(NotADirectoryError, match="file is a file, expected a folder"):
            check(tmp_path / "file" / "out")
    check_folder(tmp_path)
    assert list(tmp_path.iterdir()) == [tmp_path / "file"]


def test_a_file_is_there_only_at_the_end(tmp_path):
    with output_file(tmp_path / "out") as file:
        file.write(b"half")
        assert not (tmp_path / "out").exists()
    assert (tmp_path / "out").read_bytes() == b"half"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b'{"a": 1', "not JSON: Expecting"),
        (b"", "not JSON: Expecting"),
        (b"\xff\xfe{", "not JSON: 'utf-8' codec"),
        (b"[1]", "expected a JSON object, found list"),
        (b"[" * 100_000, "not JSON: maximum recursion"),
        (b'{"a": ' + b"9" * 5000 + b"}", "not JSON: Exceeds the limit"),
    ],
)
def test_broken_json_is_named(content, reason, tmp_path):
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(ValueError, match=f"a.json: {reason}"):
        read_json(tmp_path / "a.json")
