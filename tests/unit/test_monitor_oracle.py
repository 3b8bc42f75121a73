"""The human monitor beside QEMU's: the same machine, the same command, and every difference with its reason.

What is listed in ABSENT, EXPLAINED, QTREE and MTREE is all that may differ; a difference that is gone has to leave the lists.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pcemu.monitor.shell import load_commands
from pcemu.monitor.table import INFO

ROOT = Path(__file__).resolve().parents[2]
QEMU = shutil.which("qemu-system-x86_64")
BIOS = (b"\xf4" * (0x10000 - 16) + bytes.fromhex("ea5be000f0")).ljust(0x10000, b"\0")

LINE = (
    "-S -machine pc -nodefaults -display none -m 64 -cpu qemu64 -name vm -uuid 8e5b2c4a-3f0d-4b57-9b1e-2a6d6b0f7c11 -bios bios "
    "-chardev ringbuf,id=c0 -device isa-serial,chardev=c0,id=serial0 "
    "-blockdev node-name=n0,driver=raw,file.driver=file,file.filename=disk -device virtio-blk-pci,drive=n0,id=d0,addr=5 "
    "-netdev hubport,id=h0,hubid=1 -device virtio-net-pci,netdev=h0,id=nic0,addr=6,mac=52:54:00:11:22:33,romfile= "
    "-object rng-builtin,id=r0 -device virtio-rng-pci,rng=r0,id=rng0,addr=7"
)
ARGUMENTS = LINE.split()

# Equal to the letter.
SAME = (
    "info balloon", "info block", "info block-jobs", "info blockstats", "info dump", "info history",
    "info hotpluggable-cpus", "info iothreads", "info kvm", "info mem", "info memory-devices", "info memory_size_summary",
    "info name", "info network", "info numa", "info status", "info tlb", "info usernet", "info uuid", "info virtio",
    "p /x 0x10+3", "p /x $eip", "p /c 65", "p /d -1", "sum 0 1024", "x /4xw 0xfffffff0",
    "xp /4xw 0xf0000", "xp /2xg 0", "xp /3dh 0xf0000", "x/4xw 0", "gva2gpa 5", "x /4xw", "foo", "info foo", "p 1+", "info irq x",
    "i /b 0x80", "gpa2hva 0xfee00000", "gpa2hva 0x900000000", "ringbuf_read c0 10", "info lapic 7",
    "info snapshots", "announce_self", "announce_self nic0 x", "qom-list", "drive_del nope", "drive_del n0", "gpa2hpa 0xfee00000",
    "gpa2hpa 0x900000000", "ringbuf_write c0 abc", "ringbuf_read c0 2", "ringbuf_read c0 10",
    "info virtio-queue-status /machine/peripheral/d0/virtio-backend 0", "info virtio-status nope",
    "info virtio-queue-status /machine/peripheral/nic0/virtio-backend 2",
    "info virtio-queue-status /machine/peripheral/nic0/virtio-backend 3",
    "info virtio-queue-element /machine/peripheral/d0/virtio-backend 0",
)  # fmt: skip

# command -> what is taken out of QEMU's output, of ours, and why
EXPLAINED: dict[str, tuple[str, str, str]] = {
    "info cpus": (r"thread_id=\d+", r"thread_id=\d+", "processes have their own numbers"),
    "info chardev": (r"compat_monitor0.*\n", r"compat_monitor0.*\n", "QEMU makes -qmp's device before all others"),
    "info version": (r"7\.2.*", r"pcemu .*", "another program"),
    "info mice": (r"#2", r"#\d+", "numbers are the devices', not input handlers'"),
    "info memdev": (r"reserve: true", r"reserve: false", "guest RAM is touched when it is used"),
    "info migrate": (r"(?s).*", r"", "no migration"),
    "info migrate_capabilities": (r"(?s).*", r"(?s).*", "no migration, whose events a manager may ask for"),
    "info irq": (r" 0: \d+", r" 0: \d+", "changes of the timer's wire while it is reset are counted"),
    "info lapic": (r"LVT0.*", r"LVT0.*", "LINT0 is connected to the 8259 before firmware says so, for guests without firmware"),
    "info pic": (r"pic0: irr=00", r"pic0: irr=01", "the timer's output is high after reset (82C54, mode 3)"),
    "info pci": (r"(?s)  Bus  0, device   1, function 1:.*?id \"\"\n", r"", "no IDE controller yet"),
    "info registers": (r"FCW=.*", r"FCW=.*", "the x87 is as after power-on, not as after FNINIT (SDM 3, table 9-1)"),
    "info ramblock": (r" +(/rom@|pc\.rom).*\n", r"", "tables are files of fw_cfg, not RAM; no memory for option ROMs"),
    "info roms": (r"fw=genroms/kvm.*\n|.*/rom@.*\n", r".*/rom@.*\n", "no KVM ROM; tables have their own sizes"),
    "info jit": (r"(?s).*", r"(?s).*", "other counters"),
}

# What QEMU 7.2's `info` has and we have not.
ABSENT = {
    "info capture": "no sound", "info rocker": "no such switch", "info rocker-of-dpa-groups": "the same",
    "info rocker-of-dpa-flows": "the same", "info rocker-ports": "the same", "info dirty_rate": "no migration",
    "info vcpu_dirty_limit": "no migration", "info cryptodev": "no cryptodev", "info cmma": "not an x86 command",
    "info migrate_parameters": "no migration", "info opcount": "no profiler", "info profile": "no profiler",
    "info rdma": "no RDMA", "info replay": "no record and replay", "info sev": "no KVM", "info sgx": "no KVM",
    "info spice": "no display", "info stats": "no KVM", "info sync-profile": "no such locks",
    "info tpm": "no TPM", "info usb": "no USB", "info usbhost": "no USB",
    "info virtio-vhost-queue-status": "no vhost", "info vm-generation-id": "no such device", "info vnc": "no display",
    "info accel": "not in this QEMU either", "info cpustats": "not in this QEMU either",
}  # fmt: skip

# Devices that QEMU has on this board, and lines of devices that differ.
QTREE_ABSENT = {"piix3-ide", "vmmouse", "vmport", "isa-fdc", "floppy", "kvmvapic", "isa-parallel"}
QTREE_LINES = {
    "PIIX4_PM": (r"smm-enabled = \w+", "no system management mode"),
}  # fmt: skip

# Regions of QEMU's I/O and memory maps that we have not, or have otherwise.
MTREE_ABSENT = {
    "ide": "no IDE", "fdc": "no floppy", "vmport": "no VMware port", "kvmvapic": "no KVM", "rtc-index": "one region of two ports",
    "piix3-reset-control": "inside pci-conf-idx", "acpi-pci-hotplug": "later", "acpi-cpu-hotplug": "one processor",
    "pc.rom": "no memory for option ROMs",
}  # fmt: skip
# Regions that have another shape.
MTREE_OTHER = {"rtc": "index and data are one region", "pci-conf-idx": "the reset control register is in it"}


class Monitor:
    """A process with QMP on its standard input and output."""

    def __init__(self, command: list[str], directory: Path, arguments: list[str] = ARGUMENTS) -> None:
        environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}
        self.process = subprocess.Popen([*command, *arguments, "-qmp", "stdio"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.DEVNULL, text=True, cwd=directory, env=environment)  # fmt: skip
        self.read()
        self.ask("qmp_capabilities")

    def read(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        found: dict[str, Any] = json.loads(self.process.stdout.readline())
        return found

    def ask(self, name: str, **arguments: Any) -> Any:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"execute": name, "arguments": arguments}) + "\n")
        self.process.stdin.flush()
        while "event" in (answer := self.read()):
            pass
        return answer["return"]

    def run(self, line: str) -> str:
        text: str = self.ask("human-monitor-command", **{"command-line": line})
        return text.replace("\r", "")

    def end(self) -> None:
        self.ask("quit")
        self.process.communicate(timeout=600)


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Any:
    if QEMU is None:
        pytest.skip("QEMU is not installed")
    made = []
    for command in ([QEMU, "-accel", "tcg"], [sys.executable, "-m", "pcemu"]):
        directory = tmp_path_factory.mktemp("oracle")       # each its own disk: they lock it
        (directory / "bios").write_bytes(BIOS)
        (directory / "disk").write_bytes(bytes(1 << 20))
        made.append(Monitor(command, directory))
    monitors = made[0], made[1]
    if "7.2" not in monitors[0].run("info version"):
        pytest.skip("another version of QEMU")
    yield monitors
    for monitor in monitors:
        monitor.end()


pytestmark = pytest.mark.oracle


@pytest.mark.parametrize("line", SAME)
def test_same(both: tuple[Monitor, Monitor], line: str) -> None:
    theirs, ours = (monitor.run(line) for monitor in both)
    assert ours == theirs


@pytest.mark.parametrize("line", EXPLAINED)
def test_explained(both: tuple[Monitor, Monitor], line: str) -> None:
    theirs, ours = (monitor.run(line) for monitor in both)
    assert ours != theirs, "equal now: move it to SAME"
    not_theirs, not_ours, _ = EXPLAINED[line]
    assert re.sub(not_ours, "", ours) == re.sub(not_theirs, "", theirs)


def test_nothing_is_forgotten(both: tuple[Monitor, Monitor]) -> None:
    """Every `info` of QEMU's is ours too, or in the list."""
    load_commands()
    theirs = {" ".join(line.split()[:2]) for line in both[0].run("help info").splitlines() if line.startswith("info ")}
    ours = {f"info {name}" for name in INFO}
    assert theirs - ours - ABSENT.keys() == set()
    assert ours & ABSENT.keys() == set(), "there now: take it out of ABSENT, and into SAME or EXPLAINED"


def test_nodes(both: tuple[Monitor, Monitor]) -> None:
    """Nodes without a name have numbers: QEMU's are random."""
    theirs, ours = (re.sub(r"#block\d+", "#block", monitor.run("info block -n")) for monitor in both)
    assert ours == theirs and "#block: disk (file)\n" in ours


# Features that only one of the two has.
FEATURES_OTHER = {
    "VHOST_USER_F_PROTOCOL_FEATURES": "bit 30, a mark of broken drivers: not offered",
    "VIRTIO_F_RING_RESET": "QEMU 7.2 offers it and does not know its name",
    **{f"VIRTIO_NET_F_{name}": "pcemu cuts segments and sums itself where a peer cannot" for name in (
        "CSUM", "GUEST_CSUM", "GUEST_TSO4", "GUEST_TSO6", "GUEST_ECN", "GUEST_UFO", "HOST_TSO4", "HOST_TSO6", "HOST_ECN",
        "HOST_UFO")},
}  # fmt: skip


@pytest.mark.parametrize("ident", ["d0", "nic0", "rng0"])
def test_virtio_status(both: tuple[Monitor, Monitor], ident: str) -> None:
    """The same numbers, and features of the same names; what a feature does is said in own words."""
    found = []
    for monitor in both:
        status = monitor.ask("x-query-virtio-status", path=f"/machine/peripheral/{ident}/virtio-backend")
        for features in ("guest-features", "host-features", "backend-features"):
            entry = status[features]
            names = {text.partition(":")[0] for text in entry["transports"] + entry["dev-features"]}
            status[features] = names - FEATURES_OTHER.keys()
        found.append(status)
    assert found[0] == found[1]


def devices(text: str) -> dict[tuple[str, str, str], list[str]]:
    """(type, id, address) -> lines of `info qtree`."""
    found: dict[tuple[str, str, str], list[str]] = {}
    counts: dict[str, int] = {}
    lines: list[str] = []
    for line in text.splitlines():
        if head := re.match(r' *dev: ([\w.-]+), id "(.*)"', line):
            number = counts[head[1]] = counts.get(head[1], -1) + 1
            lines = found[head[1], head[2], str(number)] = []
        elif not re.match(r" *(bus:|type )", line):
            lines.append(line.strip())
    return found


def test_qtree(both: tuple[Monitor, Monitor]) -> None:
    theirs, ours = (devices(monitor.run("info qtree")) for monitor in both)
    assert {name for name, _, _ in theirs.keys() - ours.keys()} <= QTREE_ABSENT
    assert ours.keys() - theirs.keys() == set()
    differences = {}
    for device, lines in ours.items():
        pattern = QTREE_LINES.get(device[0], ("(?!)", ""))[0]
        mine = [line for line in lines if not re.fullmatch(pattern, line)]
        other = [line for line in theirs[device] if not re.fullmatch(pattern, line)]
        if mine != other:
            differences[device] = [line for line in mine if line not in other], [line for line in other if line not in mine]
    assert differences == {}


# The disk, the card and the balloon of a guest as OpenStack's Nova starts it.
NOVA_LINE = (
    "-S -machine pc -nodefaults -display none -m 2048 -cpu qemu64 "
    "-drive file=disk,if=none,id=drive-virtio-disk0,format=qcow2,cache=none "
    "-device virtio-blk-pci,scsi=off,bus=pci.0,addr=0x4,drive=drive-virtio-disk0,id=virtio-disk0,bootindex=1 "
    "-netdev hubport,id=hostnet0,hubid=1 "
    "-device virtio-net-pci,netdev=hostnet0,id=net0,mac=fa:16:3e:d1:2d:99,bus=pci.0,addr=0x3 "
    "-device virtio-balloon-pci,id=balloon0,bus=pci.0,addr=0x5"
)


@pytest.mark.skipif(QEMU is None, reason="qemu-system-x86_64 is not installed")
def test_reference_guest(tmp_path: Path) -> None:
    """`info qtree`, `info pci` and `info block` of its virtio devices, to the letter; but nodes without a name have numbers."""
    assert QEMU is not None
    texts = []
    for name, command in ("theirs", [QEMU, "-accel", "tcg"]), ("ours", [sys.executable, "-m", "pcemu"]):
        directory = tmp_path / name
        directory.mkdir()
        image = [sys.executable, "-m", "pcemu.img", "create", "-q", "-f", "qcow2", str(directory / "disk"), "4G"]
        subprocess.run(image, check=True, cwd=ROOT)
        monitor = Monitor(command, directory, NOVA_LINE.split())
        try:
            found = {key: lines for key, lines in devices(monitor.run("info qtree")).items() if key[0].startswith("virtio-")}
            slots = re.split(r"(?m)^(?=  Bus)", monitor.run("info pci"))
            texts.append((found, [slot for slot in slots if "device 1af4:" in slot],
                          re.sub(r" \(#block\d+\)", "", monitor.run("info block"))))  # fmt: skip
        finally:
            monitor.end()
    theirs, ours = texts
    assert len(ours[0]) == 6 and len(ours[1]) == 3
    assert ours == theirs


def regions(text: str) -> set[str]:
    """Lines of `info mtree -f` that are no filling."""
    found = set(re.findall(r"^  ([0-9a-f]{16}-[0-9a-f]{16} \(prio -?\d+, \S+\): \S+)", text, re.MULTILINE))
    return {line for line in found if not re.search(r": (io|pc\.ram)$", line)}


def test_mtree(both: tuple[Monitor, Monitor]) -> None:
    theirs, ours = (regions(monitor.run("info mtree -f")) for monitor in both)
    missing = {line.rpartition(" ")[2] for line in theirs - ours}
    assert missing - MTREE_ABSENT.keys() - MTREE_OTHER.keys() == set()
    assert {line.rpartition(" ")[2] for line in ours - theirs} - MTREE_OTHER.keys() == set()
