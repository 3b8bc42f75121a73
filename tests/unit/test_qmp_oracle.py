"""QMP's schema beside QEMU's: what a manager that knows QEMU sends is accepted, and what it reads is there."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from pcemu.monitor import table
from pcemu.monitor.introspect import schema
from pcemu.monitor.shell import load_commands

QEMU = shutil.which("qemu-system-x86_64")
pytestmark = pytest.mark.oracle

# Commands and events that QEMU 7.2 has not.
OURS_ONLY: dict[str, str] = {}

# What QEMU 7.2 has and we have not: patterns of names, and why. What appears here has to leave the list.
_NO = {
    "no migration": "migrate(?!-set-capabilities$).* query-migrate-parameters "
                    "query-dirty-rate calc-dirty-rate .*vcpu-dirty-limit client_migrate_info "
                    ".*[Cc][Oo][Ll][Oo].* xen-.* MIGRATION.* UNPLUG_PRIMARY FAILOVER_NEGOTIATED query-yank yank "
                    "cancel-vcpu-dirty-limit query-xen-replication-status",
    "no saved states": "snapshot-(save|load|delete) .*savevm loadvm delvm blockdev-snapshot.* "
                       "snapshot-(delete-)?blkdev.*",
    "no block jobs": "block-job-.* job-.* BLOCK_JOB_.* JOB_STATUS_CHANGE block-(commit|stream) blockdev-(backup|mirror) "
                     "drive-(backup|mirror) transaction commit",
    "nodes do not change": "blockdev-(create|reopen) x-blockdev-.* x-debug-query-block-graph change-backing-file "
                           "qemu-io",
    "no dirty bitmaps": ".*dirty-bitmap.*",
    "no NBD server": "nbd[-_]server.* .*block-export.* BLOCK_EXPORT_DELETED",
    "nothing is throttled or watched": "block_set_io_throttle block-set-write-threshold BLOCK_WRITE_THRESHOLD "
                                       "block-latency-histogram-set",
    "the request fails: BLOCK_IO_ERROR": "BLOCK_IMAGE_CORRUPTED",
    "no such block driver": "QUORUM_.*",
    "no removable media": "blockdev-(change|insert|remove)-medium blockdev-(open|close)-tray eject change DEVICE_TRAY_MOVED",
    "no display": ".*vnc.* VNC_.* .*spice.* SPICE_.* display-.* query-display-options screendump "
                  "(set|expire)_password",
    "no sound": "wavcapture stopcapture",
    "no suspend to RAM": "SUSPEND WAKEUP system_wakeup",
    "no memory or processor hotplug": "ACPI_DEVICE_OST query-acpi-ospm-status MEM.* DEVICE_UNPLUG_GUEST_ERROR set-numa-node",
    "no KVM, Xen, SEV or SGX": "query-(sev|sgx).* sev-.* query-stats.* xen-.* MEMORY_FAILURE",
    "no such device": "query-tpm.* query-rocker.* query-vm-generation-id .*rdma RDMA_.* VFU_.* x-query-usb PR_MANAGER.* "
                      "query-pr-managers pcie_aer_inject_error x-query-virtio-vhost-queue-status dumpdtb",
    "no record and replay": "replay[-_].* query-replay",
    "no such counters": "x-query-opcount x-query-profile sync-profile",
    "no -preconfig": "x?-?exit[-_]preconfig",
    "no machine checks": "mce",
    "no mode of single instructions": "singlestep",
}
ABSENT = [re.compile(pattern) for patterns in _NO.values() for pattern in patterns.split()]

# Commands whose arguments are an option's: what belongs to a driver or type is checked by that.
OPTIONS = {"blockdev-add", "netdev_add", "object-add"}


class Theirs:
    """QEMU's schema, by name."""

    def __init__(self, entries: list[dict[str, Any]]) -> None:
        self.types = {entry["name"]: entry for entry in entries}

    def kind(self, name: str) -> str:
        entry = self.types[name]
        if entry["meta-type"] == "builtin":
            return {"int": "int", "string": "str", "boolean": "bool", "value": "any", "number": "number",
                    "null": "null"}[entry["json-type"]]  # fmt: skip
        kind: str = entry["meta-type"]
        return kind


@pytest.fixture(scope="module")
def theirs() -> Theirs:
    if QEMU is None:
        pytest.skip("QEMU is not installed")
    asked = '{"execute":"qmp_capabilities"}{"execute":"query-qmp-schema"}{"execute":"query-version"}{"execute":"quit"}'
    done = subprocess.run([QEMU, "-qmp", "stdio", "-display", "none", "-S", "-machine", "none"], input=asked, text=True,
                          capture_output=True, timeout=600)  # fmt: skip
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    version = lines[3]["return"]["qemu"]
    if (version["major"], version["minor"]) != (7, 2):
        pytest.skip("another version of QEMU")
    return Theirs(lines[2]["return"])


def ours() -> dict[str, dict[str, Any]]:
    return {entry["name"]: entry for entry in schema().listing()}


def compare(path: str, mine: str, other: str, theirs: Theirs, types: dict[str, Any], given: bool,
            seen: frozenset[str] = frozenset()) -> Iterator[str]:
    """Differences. `given`: what a client sends; else what it gets."""
    if mine in seen:
        return
    seen |= {mine}
    my, their = types[mine], theirs.types[other]
    my_kind = "any" if mine == "any" else mine if my["meta-type"] == "builtin" else my["meta-type"]
    their_kind = theirs.kind(other)
    if my_kind != their_kind and "any" not in (my_kind, their_kind):
        yield f"{path}: {my_kind}, QEMU's is {their_kind}"
        return
    if my_kind == "array":
        yield from compare(path + "[]", my["element-type"], their["element-type"], theirs, types, given, seen)
    elif my_kind == "enum":
        extra = set(my["values"]) - set(their["values"])
        if extra:
            yield f"{path}: {sorted(extra)} are not QEMU's"
    elif my_kind == "object":
        mine_by = {member["name"]: member for member in my["members"]}
        their_by = {member["name"]: member for member in their["members"]}
        for name, member in mine_by.items():
            if name not in their_by:
                # QEMU may have it in a variant of a union.
                if "tag" not in their:
                    yield f"{path}.{name}: not QEMU's"
                continue
            yield from compare(f"{path}.{name}", member["type"], their_by[name]["type"], theirs, types, given, seen)
            if given and "default" not in member and "default" in their_by[name]:
                yield f"{path}.{name}: required, QEMU's is not"
            if not given and "default" in member and "default" not in their_by[name]:
                yield f"{path}.{name}: may be absent, QEMU's is always there"
        for name, member in their_by.items():
            if name not in mine_by and "default" not in member:
                yield f"{path}.{name}: QEMU {'requires' if given else 'always returns'} it"
        their_variants = {variant["case"]: variant["type"] for variant in their.get("variants", ())}
        for variant in my.get("variants", ()):
            if variant["case"] not in their_variants:
                yield f"{path}|{variant['case']}: not QEMU's"
                continue
            case = variant["case"]
            yield from compare(f"{path}|{case}", variant["type"], their_variants[case], theirs, types, given, seen)


def test_commands_and_events_are_qemus(theirs: Theirs) -> None:
    types = ours()
    found: list[str] = []
    for name, entry in types.items():
        if entry["meta-type"] not in ("command", "event") or name in OURS_ONLY:
            continue
        other = theirs.types.get(name)
        if other is None or other["meta-type"] != entry["meta-type"]:
            found.append(f"{name}: QEMU has no such {entry['meta-type']}")
            continue
        is_event = entry["meta-type"] == "event"
        if name not in OPTIONS:
            found += compare(name, entry["arg-type"], other["arg-type"], theirs, types, not is_event)
        if not is_event:
            found += compare(f"{name}.return", entry["ret-type"], other["ret-type"], theirs, types, False)
    assert found == [], "\n".join(found)


def reason(name: str) -> bool:
    """Is there one? The human monitor writes '_' where QMP writes '-'."""
    return any(pattern.fullmatch(spelling) for pattern in ABSENT for spelling in (name, name.replace("_", "-")))


def test_what_is_missing_has_a_reason(theirs: Theirs) -> None:
    mine = {name for name, entry in ours().items() if entry["meta-type"] in ("command", "event")}
    missing = {name for name, entry in theirs.types.items() if entry["meta-type"] in ("command", "event")} - mine
    assert sorted(name for name in missing if not reason(name)) == []
    assert sorted(filter(reason, mine)) == [], "there now: take them out of the list"


def test_what_the_human_monitor_lacks_has_a_reason(theirs: Theirs) -> None:
    assert QEMU is not None
    command = [QEMU, "-monitor", "stdio", "-display", "none", "-S", "-machine", "none"]
    done = subprocess.run(command, input="help\nquit\n", text=True, capture_output=True, timeout=600, check=True)
    shown = set(re.findall(r"^([a-z][\w-]*)[|\w-]* .*-- ", done.stdout.replace("\r", ""), re.MULTILINE))
    assert len(shown) > 80
    load_commands()
    assert sorted(name for name in shown - set(table.COMMANDS) if not reason(name)) == []
