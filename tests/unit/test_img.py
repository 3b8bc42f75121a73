"""pcemu-img beside qemu-img: the same files, the same output."""

from __future__ import annotations

import json
import random
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from blocktools import clean, make, needs_qemu_img, open_qcow2, qemu_img, qemu_io, same, write

from pcemu.img.main import main


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


class Tool:
    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self.capsys = capsys

    def __call__(self, *arguments: object, status: int = 0) -> str:
        got = main([str(word) for word in arguments])
        out, err = self.capsys.readouterr()
        assert got == status, f"{arguments}: {got}\n{out}{err}"
        return out if status == 0 else out + err


@pytest.fixture
def img(capsys: pytest.CaptureFixture[str]) -> Tool:
    return Tool(capsys)


def theirs(*arguments: object) -> tuple[int, str, str]:
    done = subprocess.run(["qemu-img", *map(str, arguments)], capture_output=True, text=True, timeout=600, check=False)
    return done.returncode, done.stdout, done.stderr


CREATE = [
    "-f qcow2 NAME 64M",
    "-f raw NAME 1G",
    "-f raw -o size=1M NAME",
    "NAME 512k",
    "-f qcow2 -b base.qcow2 -F qcow2 NAME",
    "-f qcow2 -b base.qcow2 -F qcow2 NAME 3M",
    "-f qcow2 -o compat=0.10,cluster_size=4k NAME 1.5G",
    "-f qcow2 -o cluster_size=512,refcount_bits=64 NAME 100M",
    "-f qcow2 -o extended_l2=on,lazy_refcounts=on,refcount_bits=1,cluster_size=2M,compat=v3 NAME 10G",
    "-f qcow2 -o preallocation=metadata NAME 5M",
    "-f qcow2 -o preallocation=falloc NAME 1M",
    "-f qcow2 -o preallocation=full NAME 1M",
    "-f qcow2 -o compression_type=zstd NAME 1M",
    "-f raw -o preallocation=falloc NAME 1M",
]


@needs_qemu_img
@pytest.mark.parametrize("line", CREATE)
def test_create(img: Tool, line: str) -> None:
    if "zstd" in line:
        pytest.importorskip("zstandard")
    make(Path("base.qcow2"), 2 << 20)
    words = ["x.img" if word == "NAME" else word for word in line.split()]
    assert img("create", *words) == qemu_img("create", *words[:-2], *words[-2:]) or theirs("create", *words)
    Path("x.img").unlink()
    ours = img("create", *words)
    info = json.loads(qemu_img("info", "--output=json", "x.img"))
    if info["format"] == "qcow2":
        clean(Path("x.img"))
    Path("x.img").unlink()
    assert qemu_img("create", *words) == ours
    expected = json.loads(qemu_img("info", "--output=json", "x.img"))
    for key in ("virtual-size", "cluster-size", "format-specific", "backing-filename", "backing-filename-format"):
        assert info.get(key) == expected.get(key)


@needs_qemu_img
def test_large_tables_of_small_clusters(img: Tool) -> None:
    """Refcount structures that need more than one block to count themselves."""
    img("create", "-q", "-f", "qcow2", "-o", "cluster_size=512,refcount_bits=64", "a.qcow2", "100G")
    clean(Path("a.qcow2"))
    img("resize", "-q", "a.qcow2", "120G")
    clean(Path("a.qcow2"))


@pytest.fixture
def images() -> None:
    """base.qcow2 <- top.qcow2, with data, zeroes, a hole and a snapshot; disk.raw with holes."""
    base = make(Path("base.qcow2"), 4 << 20)
    qemu_io(base, "write -P 1 0 100k", "write -P 2 1M 64k")
    qemu_img("snapshot", "-c", "first", base)
    qemu_io(base, "write -P 3 2M 128k")
    qemu_img("create", "-q", "-f", "qcow2", "-b", "base.qcow2", "-F", "qcow2", "top.qcow2", "5M")
    qemu_io(Path("top.qcow2"), "write -P 4 64k 64k", "write -z 2M 64k", "write -P 5 4990k 30k")
    with open("disk.raw", "wb") as file:
        file.truncate(3 << 20)
        file.seek(1 << 20)
        file.write(b"data" * 32768)


@needs_qemu_img
@pytest.mark.usefixtures("images")
@pytest.mark.parametrize("line", [
    "info base.qcow2", "info top.qcow2", "info --backing-chain top.qcow2", "info disk.raw", "info -f raw top.qcow2",
    "map base.qcow2", "map top.qcow2", "map disk.raw", "map --output=json base.qcow2", "map --output=json top.qcow2",
    "map --output=json disk.raw", "map --output=json -s 100k -l 1M top.qcow2", "snapshot -l base.qcow2", "snapshot top.qcow2",
    "check base.qcow2", "check top.qcow2", "info --image-opts driver=qcow2,file.driver=file,file.filename=base.qcow2",
])  # fmt: skip
def test_the_same_output(img: Tool, line: str) -> None:
    assert img(*line.split()) == qemu_img(*line.split())


@needs_qemu_img
@pytest.mark.usefixtures("images")
@pytest.mark.parametrize("line", ["info", "check"])
@pytest.mark.parametrize("name", ["base.qcow2", "top.qcow2"])
def test_the_same_facts(img: Tool, line: str, name: str) -> None:
    assert json.loads(img(line, "--output=json", name)) == json.loads(qemu_img(line, "--output=json", name))


@needs_qemu_img
@pytest.mark.parametrize("line", [
    "", "bogus", "create", "create -f foo x 1M", "create -f qcow2 x", "create -f qcow2 -o foo=1 x 1M", "create x 1Q",
    "create -f raw x 1M extra", "create -f qcow2 -b base.qcow2 x", "create -f qcow2 -b nonex -F raw x",
    "create -f qcow2 -o cluster_size=100 x 1M", "create -f qcow2 -o refcount_bits=3 x 1M", "create -f raw -b base.qcow2 x 1M",
    "create -f qcow2 -o extended_l2=on,cluster_size=4k x 1M", "create -f qcow2 -o compat=0.10,lazy_refcounts=on x 1M",
    "info", "info nonex", "info -f qcow2 small.raw", "info --output=x small.raw", "check -r foo base.qcow2", "check small.raw",
    "convert base.qcow2", "convert a b", "resize -f raw small.raw 1k", "resize base.qcow2", "resize base.qcow2 +1Q",
    "snapshot -d nope base.qcow2", "snapshot -l -c x base.qcow2", "map", "convert -c -O raw base.qcow2 x",
])  # fmt: skip
def test_what_is_refused(img: Tool, line: str) -> None:
    """The same status, and an error that begins alike."""
    make(Path("base.qcow2"), 1 << 20)
    Path("small.raw").write_bytes(bytes(4096))
    status, _, err = theirs(*line.split())
    assert status != 0
    ours = img(*line.split(), status=status)
    lines = [text for text in ours.splitlines() if text and "warning" not in text.lower() and not text.startswith("Formatting")]
    assert lines and lines[0].startswith("pcemu-img: ")
    assert "Traceback" not in ours and (len(lines) <= 2 or "expects" in err)
    assert not Path("x").exists()


@needs_qemu_img
@pytest.mark.usefixtures("images")
@pytest.mark.parametrize("options", [
    "-O raw", "-O qcow2", "-O qcow2 -c", "-O qcow2 -o cluster_size=4k", "-O qcow2 -o extended_l2=on", "-O raw -S 0",
    "-O qcow2 -o compat=0.10 -S 64k", "-O qcow2 -m 1 -W", "-O qcow2 -t writeback -T none",
])  # fmt: skip
@pytest.mark.parametrize("source", ["base.qcow2", "top.qcow2", "disk.raw"])
def test_convert(img: Tool, options: str, source: str) -> None:
    img("convert", *options.split(), source, "out.img")
    qemu_img("compare", source, "out.img")
    if "qcow2" in options:
        clean(Path("out.img"))
    qemu_img("convert", *options.split(), source, "ref.img")
    ours, reference = (json.loads(qemu_img("info", "--output=json", name))["actual-size"] for name in ("out.img", "ref.img"))
    assert ours <= reference + (256 << 10)


@needs_qemu_img
@pytest.mark.usefixtures("images")
def test_convert_special(img: Tool) -> None:
    img("convert", "-l", "snapshot.name=first", "-O", "raw", "base.qcow2", "first.raw")
    qemu_img("convert", "-l", "snapshot.name=first", "-O", "raw", "base.qcow2", "expected.raw")
    assert Path("first.raw").read_bytes() == Path("expected.raw").read_bytes()
    img("convert", "-O", "qcow2", "-B", "base.qcow2", "-F", "qcow2", "top.qcow2", "new.qcow2")
    qemu_img("compare", "top.qcow2", "new.qcow2")
    assert Path("new.qcow2").stat().st_size < 1 << 20
    img("convert", "-O", "raw", "disk.raw", "base.qcow2", "both.raw")
    qemu_img("convert", "-O", "raw", "disk.raw", "base.qcow2", "expected.raw")
    assert Path("both.raw").read_bytes() == Path("expected.raw").read_bytes()
    make(Path("there.qcow2"), 4 << 20)
    with open_qcow2(Path("there.qcow2")) as node:
        write(node, 3 << 20, b"old" * 1024)
    img("convert", "-n", "-O", "qcow2", "base.qcow2", "there.qcow2")
    qemu_img("compare", "base.qcow2", "there.qcow2")
    clean(Path("there.qcow2"))


@needs_qemu_img
@pytest.mark.usefixtures("images")
def test_progress(img: Tool) -> None:
    out = img("convert", "-p", "-O", "qcow2", "disk.raw", "out.qcow2")
    parts = [float(part) for part in re.findall(r"\((\d+\.\d\d)/100%\)\r", out)]
    assert parts == sorted(parts) and parts[0] == 0 and parts[-1] == 100 and out.endswith("\n")


@needs_qemu_img
def test_resize_and_snapshots(img: Tool) -> None:
    path = make(Path("a.qcow2"), 1 << 20)
    data = bytearray(random.Random(5).randbytes(1 << 20))
    with open_qcow2(path) as node:
        write(node, 0, bytes(data))
    assert img("snapshot", "-c", "one", path) == ""
    assert img("resize", path, "+1M") == "Image resized.\n"
    same(path, data + bytes(1 << 20))
    assert "Use the --shrink option" in img("resize", path, "512k", status=1)
    img("resize", "-q", "--shrink", path, "-1536k")
    same(path, data[: 512 << 10])
    clean(path)
    img("snapshot", "-a", "one", path)
    same(path, data)
    img("snapshot", "-d", "one", path)
    clean(path)
    assert "Could not delete snapshot 'one': snapshot not found" in img("snapshot", "-d", "one", path, status=1)
    raw = Path("b.raw")
    img("create", "-q", raw, "1M")
    img("resize", "-q", "-f", "raw", "--preallocation=full", raw, "2M")
    assert raw.stat().st_size == 2 << 20


@needs_qemu_img
def test_check_repairs(img: Tool) -> None:
    path = make(Path("a.qcow2"), 1 << 20)
    with open_qcow2(path) as node:
        write(node, 0, bytes([7]) * (512 << 10))
        node.flush_all()
        with node.lock:
            node.refcounts.set(20, 1)
            node.claim(21)
    copy = Path("b.qcow2")
    copy.write_bytes(path.read_bytes())
    assert "1 leaked clusters were found" in img("check", path, status=3)
    assert img("check", "-r", "leaks", path) == qemu_img("check", "-r", "leaks", copy)
    clean(path)


@needs_qemu_img
def test_an_image_in_use_is_refused(img: Tool) -> None:
    """Our writer against their reader, and the other way round."""
    path = make(Path("a.qcow2"), 1 << 20)
    with open_qcow2(path) as node:
        status, _, err = theirs("info", path)
        assert status == 1 and 'Failed to get shared "write" lock' in err
        assert 'Failed to get shared "write" lock' in img("info", path, status=1)
        assert json.loads(img("info", "-U", "--output=json", path)) == json.loads(qemu_img("info", "-U", "--output=json", path))
        assert 'Failed to get "write" lock' in img("create", "-q", "-f", "qcow2", path, "1M", status=1)
        write(node, 0, b"still here")
    process = subprocess.Popen(["qemu-io", str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write("read 0 512\n")
        process.stdin.flush()
        process.stdout.readline()
        assert 'Failed to get "write" lock' in img("snapshot", "-c", "x", path, status=1)
        assert 'Failed to get shared "write" lock' in img("info", path, status=1)
    finally:
        process.communicate("quit\n", timeout=600)
    img("snapshot", "-c", "x", path)


def test_help(img: Tool) -> None:
    assert "convert [--image-opts]" in img("--help")
    assert "usage: pcemu-img map" in img("map", "--help")
    assert "pcemu-img version" in img("-V")
    assert "cluster_size=<size>" in img("create", "-f", "qcow2", "-o", "help")


def options_of(help_text: str) -> dict[str, Any]:
    return dict(re.findall(r"^  ([\w.]+)=<(.*?)>", help_text, re.MULTILINE))


@needs_qemu_img
def test_options_are_qemus(img: Tool) -> None:
    for fmt in ("qcow2", "raw"):
        known = options_of(qemu_img("create", "-f", fmt, "-o", "help"))
        ours = options_of(img("create", "-f", fmt, "-o", "help"))
        ours.pop("preallocation", None) if fmt == "raw" else None
        assert ours.items() <= known.items()


@needs_qemu_img
def test_bitmaps(img: Tool) -> None:
    """They are listed, kept while nobody writes, and given up when somebody does."""
    for words in ("create -q -f qcow2 a.qcow2 64M", "bitmap --add a.qcow2 one", "bitmap --add -g 4k a.qcow2 two",
                  "bitmap --disable a.qcow2 two"):  # fmt: skip
        assert theirs(*words.split())[0] == 0
    assert theirs("info", "a.qcow2")[1] == img("info", "a.qcow2")
    assert json.loads(theirs("info", "--output=json", "a.qcow2")[1]) == json.loads(img("info", "--output=json", "a.qcow2"))
    with open_qcow2(Path("a.qcow2"), **{"read-only": True}) as node:
        node.get(0, 65536)
    img("check", "a.qcow2")
    assert [one["name"] for one in _specific("a.qcow2")["bitmaps"]] == ["one", "two"]
    with open_qcow2(Path("a.qcow2")) as node:
        node.put(0, b"changed")
    assert "bitmaps" not in _specific("a.qcow2")
    assert "leaked" in img("check", "a.qcow2", status=3)
    img("check", "-r", "leaks", "a.qcow2")
    clean(Path("a.qcow2"))


def _specific(name: str) -> dict[str, Any]:
    """What QEMU finds in an image of ours."""
    found: dict[str, Any] = json.loads(theirs("info", "--output=json", name)[1])["format-specific"]["data"]
    return found


@needs_qemu_img
@pytest.mark.parametrize("target", ["-O raw", "-O qcow2", "-O qcow2 -c"])
def test_sparse_size_zero_allocates_everything(img: Tool, target: str) -> None:
    """-S 0: nothing is looked at, and nothing is left out."""
    assert theirs("create", "-q", "-f", "qcow2", "a.qcow2", "1M")[0] == 0
    with open_qcow2(Path("a.qcow2")) as node:
        node.put(65536, b"data" * 1000)
    for tool, name in ((theirs, "q"), (img, "p")):
        tool("convert", "-S", "0", *target.split(), "a.qcow2", name)
    assert theirs("compare", "a.qcow2", "p")[0] == 0
    for name in "qp":  # QEMU's own goes first, to see that this is what it does
        extents = json.loads(theirs("map", "--output=json", name)[1])
        assert all(extent["data"] for extent in extents) and sum(extent["length"] for extent in extents) == 1 << 20


@needs_qemu_img
@pytest.mark.parametrize("mode", ["metadata", "falloc", "full"])
@pytest.mark.parametrize("options", ["", "-o extended_l2=on", "-o cluster_size=4k -b base.raw -F raw",
                                     "-o extended_l2=on -b base.raw -F raw"])  # fmt: skip
def test_resize_with_places_for_all(img: Tool, mode: str, options: str) -> None:
    """New clusters are zeroes with a place of their own, also where old data was in the file, or is in the backing file."""
    Path("base.raw").write_bytes(b"base" * (1 << 18))
    for name in "qp":
        qemu_img("create", "-q", "-f", "qcow2", *options.split(), name, "512k")
        qemu_io(Path(name), "write -P 5 0 512k", "discard 64k 128k")
    assert theirs("resize", f"--preallocation={mode}", "q", "2M")[0] == 0
    assert img("resize", f"--preallocation={mode}", "p", "2M") == "Image resized.\n"
    clean(Path("p"))
    assert theirs("compare", "q", "p")[0] == 0
    for name in "qp":
        extents = json.loads(theirs("map", "--output=json", "--start-offset=512k", name)[1])
        assert all("offset" in extent and extent["depth"] == 0 for extent in extents), (name, extents)
    assert img("resize", "--shrink", "--preallocation=full", "p", "1M", status=1)


@needs_qemu_img
def test_names_in_an_image_cannot_do_harm_to_a_terminal(img: Tool) -> None:
    qemu_img("create", "-q", "-f", "qcow2", "a.qcow2", "1M")
    qemu_img("snapshot", "-c", "s\x1b[31m", "a.qcow2")
    subprocess.run([b"qemu-img", b"rebase", b"-u", b"-b", b"b\xff\x1b[2J\n", b"-F", b"raw", b"a.qcow2"], check=True)
    text = img("info", "a.qcow2")
    assert "s\\x1b[31m" in text and "backing file: b\\xff\\x1b[2J\\n\n" in text and "\x1b" not in text
    assert json.loads(img("info", "--output=json", "a.qcow2"))["backing-filename"] == "b\ufffd\x1b[2J\n"
    for command in (("map",), ("info", "--backing-chain")):
        assert "b\\xff\\x1b[2J\\n" in img(*command, "a.qcow2", status=1)
    qemu_img("create", "-q", "-f", "qcow2", "-u", "-b", "./self.qcow2", "-F", "qcow2", "self.qcow2", "1M")
    assert "creates an infinite loop" in img("info", "--backing-chain", "self.qcow2", status=1)
