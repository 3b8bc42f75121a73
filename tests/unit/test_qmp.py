"""QMP on a stream: negotiation, requests and errors, events, descriptors, and clients that misbehave."""

from __future__ import annotations

import array
import contextlib
import json
import os
import random
import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pcemu import chardev, monitor
from pcemu.machine.config import DeviceConfig, MachineConfig
from pcemu.machine.machine import Machine
from pcemu.monitor import qmp, table
from pcemu.monitor.introspect import schema
from pcemu.monitor.jsonstream import MAX_NESTING, MAX_SIZE, ParseError, Splitter, parse
from pcemu.monitor.qmp import MOST_QUEUED, QmpMonitor
from pcemu.monitor.shell import load_commands
from pcemu.testing.fakes import FakeCore

ROOT = Path(__file__).resolve().parents[2]


class Client:
    """A QMP client on a ring buffer, for a machine whose loop the test turns."""

    def __init__(self, machine: Machine, negotiate: bool = True) -> None:
        self.machine = machine
        number = len(machine.chardevs)
        self.stream: Any = chardev.create(machine, {"backend": "ringbuf", "id": f"qmp{number}", "size": "4M"})
        made = monitor.create(machine, self.stream, mode="control")
        assert isinstance(made, QmpMonitor)
        self.monitor = made
        self.greeting = self.messages()[0]
        self.events: list[dict[str, Any]] = []
        if negotiate:
            assert self.run("qmp_capabilities") == {}

    def turn(self, times: int = 3) -> None:
        for _ in range(times):
            self.machine.loop.call_soon(self.machine.loop.stop)
            self.machine.loop.run_forever()

    def messages(self) -> list[dict[str, Any]]:
        text = self.stream.read_ring(1 << 22).decode()
        return [json.loads(line) for line in text.split("\r\n") if line]

    def send(self, data: bytes | str) -> list[dict[str, Any]]:
        """Everything that comes back, events aside."""
        self.stream.feed(data.encode() if isinstance(data, str) else data)
        self.turn()
        for _ in range(1000):
            if not self.monitor._queue:
                break
            self.turn(1)                # on a busy host each request takes a turn of the loop
        return self.answers()

    def answers(self) -> list[dict[str, Any]]:
        found = self.messages()
        self.events += [message for message in found if "event" in message]
        return [message for message in found if "event" not in message]

    def ask(self, name: str, /, **arguments: Any) -> dict[str, Any]:
        request = {"execute": name, "arguments": {key.replace("_", "-"): value for key, value in arguments.items()}}
        found = self.send(json.dumps(request))
        for _ in range(100):
            if found:
                break
            self.turn()
            found = self.answers()
        assert len(found) == 1, found
        return found[0]

    def run(self, name: str, /, **arguments: Any) -> Any:
        answer = self.ask(name, **arguments)
        assert "return" in answer, answer
        return answer["return"]

    def error(self, name: str, /, **arguments: Any) -> tuple[str, str]:
        error = self.ask(name, **arguments)["error"]
        return error["class"], error["desc"]


def build(**options: Any) -> Machine:
    return Machine(MachineConfig(ram_size=1 << 20, **options), core=FakeCore()).build()


@pytest.fixture
def machine() -> Iterator[Machine]:
    made = build(devices=[DeviceConfig("isa-debug-exit", {"id": "x"}), DeviceConfig("isa-debug-exit", {"iobase": "0x600"})],
                 chardevs=[{"backend": "ringbuf", "id": "r"}])
    yield made
    made.close()


@pytest.fixture
def client(machine: Machine) -> Client:
    return Client(machine)


# ---- the protocol ---------------------------------------------------------------------------------------------------------


def test_negotiation(machine: Machine) -> None:
    client = Client(machine, negotiate=False)
    assert client.greeting["QMP"].keys() == {"version", "capabilities"}
    assert client.greeting["QMP"]["version"]["qemu"].keys() == {"major", "minor", "micro"}
    assert client.error("query-status") == ("CommandNotFound", "Expecting capabilities negotiation with 'qmp_capabilities'")
    assert client.error("qmp_capabilities", enable=["oob"]) == ("GenericError", "Capability 'oob' not available")
    assert client.error("qmp_capabilities", enable=["x"])[0] == "GenericError"
    assert client.run("qmp_capabilities") == {}
    assert client.error("qmp_capabilities")[0] == "CommandNotFound"
    assert client.run("query-status")["status"] == "prelaunch"


# What QEMU 7.2 answers, but for the texts of JSON errors.
@pytest.mark.parametrize(
    ("request_", "error_class", "text"),
    [
        ('{"execute":"stop","foo":1}', "GenericError", "QMP input member 'foo' is unexpected"),
        ('{"execute":"nope"}', "CommandNotFound", "The command nope has not been found"),
        ('{"execute":"stop","arguments":{"x":1}}', "GenericError", "Parameter 'x' is unexpected"),
        ('{"execute":"qom-get","arguments":{"path":3,"property":"x"}}', "GenericError",
         "Invalid parameter type for 'path', expected: string"),
        ('{"execute":"qom-get","arguments":{"path":"/machine"}}', "GenericError", "Parameter 'property' is missing"),
        ('{"execute":3}', "GenericError", "QMP input member 'execute' must be a string"),
        ('{"execute":"stop","arguments":[]}', "GenericError", "QMP input member 'arguments' must be an object"),
        ('{"foo":1}', "GenericError", "QMP input member 'foo' is unexpected"),
        ("{}", "GenericError", "QMP input lacks member 'execute'"),
        ("[1]", "GenericError", "QMP input must be a JSON object"),
        ('{"execute":"device_add","arguments":{"driver":"nope"}}', "GenericError", "'nope' is not a valid device model name"),
        ('{"execute":"device_del","arguments":{"id":"nope"}}', "DeviceNotFound", "Device 'nope' not found"),
        ('{"execute":"qom-list","arguments":{"path":"/nope"}}', "DeviceNotFound", "Device '/nope' not found"),
        ('{"execute":"device-list-properties","arguments":{"typename":"nope"}}', "DeviceNotFound", "Device 'nope' not found"),
        ('{"execute":"set-action","arguments":{"panic":"dance"}}', "GenericError",
         "Parameter 'panic' does not accept value 'dance'"),
        ('{"execute":"pmemsave","arguments":{"val":true,"size":1,"filename":"x"}}', "GenericError",
         "Invalid parameter type for 'val', expected: integer"),
        ('{"execute":"pmemsave","arguments":{"val":99999999999999999999,"size":1,"filename":"x"}}', "GenericError",
         "Invalid parameter type for 'val', expected: integer"),
        ('{"execute":"qom-set","arguments":{"path":"/machine/peripheral/x","property":"iobase","value":3}}', "GenericError",
         "Attempt to set property 'iobase' on device 'x' (type 'isa-debug-exit') after it was realized"),
        ('{"execute":"query-command-line-options","arguments":{"option":"nope"}}', "GenericError", "invalid option name: nope"),
        ('{"execute":"getfd","arguments":{"fdname":"f"}}', "GenericError", "No file descriptor supplied via SCM_RIGHTS"),
        ('{"execute":"closefd","arguments":{"fdname":"f"}}', "GenericError", "File descriptor named 'f' not found"),
    ],
)  # fmt: skip
def test_errors(client: Client, request_: str, error_class: str, text: str) -> None:
    assert client.send(request_) == [{"error": {"class": error_class, "desc": text}}]


def test_ids_come_back(client: Client) -> None:
    for ident in (1, "a", None, [1, {"x": 2.5}], {"deep": [[[]]]}):
        answers = client.send(json.dumps({"execute": "stop", "id": ident}) + json.dumps({"execute": "nope", "id": ident}))
        assert [answer["id"] for answer in answers] == [ident, ident]
        assert ["return" in answer for answer in answers] == [True, False]


def test_any_framing(client: Client) -> None:
    one = b'{ "execute" : "query-name" }'
    assert client.send(one + one + b"\n\n  " + one) == [{"return": {}}] * 3
    for position in range(len(one)):
        assert client.send(one[:position]) == []
        assert client.send(one[position:]) == [{"return": {}}]
    quoted = b"{'execute': 'human-monitor-command', 'arguments': {'command-line': 'p \\'a\\''}}"
    assert client.send(quoted) == [{"return": "0x61\r\n"}]


def test_pretty(machine: Machine) -> None:
    stream: Any = chardev.create(machine, {"backend": "ringbuf", "id": "p"})
    monitor.create(machine, stream, mode="control", pretty=True)
    text = stream.read_ring(10000).decode()
    assert text.startswith('{\n    "QMP": {\n        "version": {\n') and text.endswith("}\r\n")


def test_events_and_several_monitors(machine: Machine) -> None:
    first, second, silent = Client(machine), Client(machine), Client(machine, negotiate=False)
    first.run("cont")
    first.run("stop")
    for client in (first, second):
        client.send(b"")
        assert [event["event"] for event in client.events] == ["RESUME", "STOP"]
        stamp = client.events[0]["timestamp"]
        assert stamp["seconds"] > 1_600_000_000 and 0 <= stamp["microseconds"] < 1_000_000
        assert "data" not in client.events[0]
    silent.send(b"")
    assert silent.events == []
    first.run("system_powerdown")
    second.send(b"")
    assert second.events[-1]["event"] == "POWERDOWN"


def test_events_that_come_too_often(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client.machine.loop, "time", lambda: 1000.0)         # no second passes by itself
    for offset in range(5):
        client.machine.emit_event("RTC_CHANGE", {"offset": offset, "qom-path": "/a"})
    client.machine.emit_event("RTC_CHANGE", {"offset": 7, "qom-path": "/b"})
    client.send(b"")
    assert [event["data"]["offset"] for event in client.events] == [0, 7]
    for key in list(client.monitor._held):              # a second later
        client.monitor._held[key][0].cancel()
        client.monitor._held_event(key)
    client.send(b"")
    assert [event["data"]["offset"] for event in client.events] == [0, 7, 4]


def test_the_guest_sets_its_clock(client: Client) -> None:
    rtc: Any = client.machine.find("mc146818rtc")
    year = rtc.get_cmos(9)
    rtc.io_write(0, 9, 1)
    rtc.io_write(1, (year + 1) & 0xFF, 1)
    client.send(b"")
    assert client.events[0]["event"] == "RTC_CHANGE"
    assert client.events[0]["data"]["offset"] in (365 * 86400, 366 * 86400)
    assert client.run("qom-get", path=client.events[0]["data"]["qom-path"], property="type") == "mc146818rtc"


def test_a_failure_of_ours_is_an_answer(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(ctx: Any) -> None:
        raise ZeroDivisionError("oops")

    monkeypatch.setitem(table.QMP, "query-name", table.QmpCommand("query-name", broken, "", "NameInfo", ""))
    log: list[str] = []
    monkeypatch.setattr(client.machine.log, "write", log.append)
    name, text = client.error("query-name")
    assert name == "GenericError" and "ZeroDivisionError: oops" in text and log
    assert client.run("query-kvm")["enabled"] is False


# ---- clients that misbehave -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "text"),
    [
        (b"foo", "JSON parse error"),
        (b'{"a":1,}', "JSON parse error"),
        (b'{"a"}', "JSON parse error"),
        (b"}}}}}}}}", "JSON parse error"),
        (b"{]", "JSON parse error"),
        (b'{"a":NaN}', "invalid keyword 'NaN'"),
        (b'{"a":1e999}', "number too large"),
        (b'{"a":' + b"9" * 5000 + b"}", "number too large"),
        (b'{"a":1,"a":2}', "duplicate key"),
        (b'{"a":"\xc3("}', "invalid UTF-8"),
        (b'{"a":"\n"}', "JSON parse error"),
        (b"[" * 100_000, "nesting depth"),
        (b'{"a":' * 1000, "nesting depth"),
        (b'{"a":"' + b"x" * (MAX_SIZE + 10), "size limit"),
        (b"x" * (MAX_SIZE + 10), "size limit"),
        (b'garbage {"execute":"stop"}', "stray 'garbage'"),
    ],
)
def test_malformed_input_is_one_error(client: Client, line: bytes, text: str) -> None:
    for at in range(0, len(line), 65536):
        client.stream.feed(line[at:at + 65536])
    answers = client.send(b'\n{"execute":"query-name"}')
    for _ in range(200):
        client.turn()
        answers += client.answers()
    assert len(answers) == 2, answers[:5]
    assert text in answers[0]["error"]["desc"]
    assert answers[1] == {"return": {}}


def test_a_lost_client_starts_over(client: Client) -> None:
    assert client.send(b'{"execute":"stop","arguments":{"foo') == []
    assert client.send(b'\xff{"execute":"query-name"}') == [{"return": {}}]


def test_no_value_is_looked_at_twice() -> None:
    """A megabyte in small pieces must not cost a megabyte a piece."""
    splitter = Splitter()
    looked = 0

    text = b'{"a":"' + b"x\\\"" * 200_000
    for at in range(0, len(text), 100):
        before = splitter._at
        assert list(splitter.feed(text[at:at + 100])) == []
        looked += splitter._at - before
    assert looked <= len(text)


def test_the_end_of_a_pipe_is_no_reason_not_to_quit(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(qmp, "TURN_NS", 0)              # a busy host: every request takes a turn of the loop
    client.stream.feed(b'{"execute":"query-name"}' * 5 + b'{"execute":"quit"}{"execute"')
    client.monitor._chardev_event("closed")
    client.turn(20)
    assert client.machine.ending
    assert not client.monitor.ready, "the session has ended behind them"


def test_a_flood_of_requests_leaves_the_loop_its_turns(client: Client) -> None:
    count = 2000
    client.stream.feed(b'{"execute":"query-name"}' * count)
    turns = 0
    answers: list[dict[str, Any]] = []
    while len(answers) < count:
        client.turn(1)
        turns += 1
        assert len(client.monitor._queue) <= MOST_QUEUED + 4096 // 20
        answers += client.answers()
        assert turns < 20000
    assert answers == [{"return": {}}] * count


def test_nothing_is_read_while_the_client_takes_nothing(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client.stream, "_send", lambda data: 0)
    client.stream.feed(b'{"execute":"query-qmp-schema"}' * 1000)
    for _ in range(50):
        client.turn()
    waiting = len(client.stream._out)
    assert waiting < 2 << 20, "output must not pile up"
    monkeypatch.undo()
    client.stream.flush()
    client.turn(10)
    assert client.answers()


def test_random_bytes(client: Client) -> None:
    """Whatever comes in, every answer is JSON, and the monitor goes on."""
    words = [b"{", b"}", b"[", b"]", b'"', b"'", b":", b",", b"\\", b"\n", b"\xff", b"execute", b"query-name", b"1e5", b"null",
             b"\x00", b"\xc3", b'{"execute":"query-name"}', b'{"execute":"qom-get","arguments":{"path":"/machine"']
    choose = random.Random(5)
    for _ in range(400):
        client.send(b"".join(choose.choice(words) for _ in range(choose.randrange(1, 30))))
    client.send(b"\xff\n")
    assert client.send(b'{"execute":"query-name","id":"end"}')[-1] == {"return": {}, "id": "end"}


def _random_value(choose: random.Random, depth: int = 0) -> Any:
    kind = choose.randrange(8 if depth < 3 else 6)
    if kind == 6:
        return [_random_value(choose, depth + 1) for _ in range(choose.randrange(3))]
    if kind == 7:
        names = [choose.choice(["type", "data", "id", "name", "x"]) for _ in range(choose.randrange(3))]
        return {name: _random_value(choose, depth + 1) for name in names}
    word = choose.choice(["/machine", "r", "file", "\0", "a" * 300])
    return (None, True, choose.choice([0, -1, 1 << 62, 1 << 80, 12]), 1.5, "", word)[kind]


# What would end or block the test, or write files.
_LEFT_OUT = {"quit", "pmemsave", "memsave", "dump-guest-memory", "chardev-add", "chardev-change", "chardev-remove", "object-add"}


def test_random_arguments(client: Client) -> None:
    choose = random.Random(7)
    for name in sorted(table.QMP.keys() - _LEFT_OUT):
        members = [member.name for member in schema().arguments[name].members] + ["x"]
        for _ in range(12):
            arguments = {member: _random_value(choose) for member in members if choose.randrange(3)}
            answer = client.ask(name, **arguments)
            assert "return" in answer or "internal error" not in answer["error"]["desc"], (name, arguments, answer)


# ---- the schema -----------------------------------------------------------------------------------------------------------


def test_schema_is_closed_and_exact(client: Client) -> None:
    entries = client.run("query-qmp-schema")
    names = [entry["name"] for entry in entries]
    assert len(names) == len(set(names))
    by_name = {entry["name"]: entry for entry in entries}
    used: set[str] = set()
    for entry in entries:
        refers = [entry.get("arg-type"), entry.get("ret-type"), entry.get("element-type")]
        refers += [member["type"] for member in entry.get("members", ()) if "type" in member]
        refers += [variant["type"] for variant in entry.get("variants", ())]
        used |= {name for name in refers if name}
    kinds = {name: by_name[name]["meta-type"] for name in used}
    assert not {"command", "event"} & set(kinds.values())
    assert used == {name for name, entry in by_name.items() if entry["meta-type"] not in ("command", "event")}
    commands = {name for name, entry in by_name.items() if entry["meta-type"] == "command"}
    assert commands == {entry["name"] for entry in client.run("query-commands")}
    for entry in entries:
        if entry["meta-type"] == "object" and "tag" in entry:
            tag = next(member["type"] for member in entry["members"] if member["name"] == entry["tag"])
            assert set(by_name[tag]["values"]) == {variant["case"] for variant in entry["variants"]}


# Arguments that queries need to answer.
_EXAMPLES: dict[str, dict[str, Any]] = {
    "qom-list": {"path": "/machine"}, "qom-get": {"path": "/machine/peripheral/x", "property": "iobase"},
    "qom-list-properties": {"typename": "isa-debug-exit"}, "device-list-properties": {"typename": "isa-debug-exit"},
    "query-cpu-model-expansion": {"type": "full", "model": {"name": "max"}}, "trace-event-get-state": {"name": "pit*"},
    "ringbuf-read": {"device": "r", "size": 5, "format": "base64"}, "human-monitor-command": {"command-line": "info status"},
}  # fmt: skip


@pytest.mark.parametrize("machine_name", ["pc", "isapc", "none"])
def test_answers_are_what_the_schema_says(machine_name: str) -> None:
    machine = build(machine=machine_name, devices=[] if machine_name == "none" else [DeviceConfig("isa-debug-exit", {"id": "x"})],
                    chardevs=[{"backend": "ringbuf", "id": "r"}], name="vm")
    client = Client(machine)
    try:
        for name in sorted(table.QMP):
            if not name.startswith(("query-", *_EXAMPLES)) or (machine_name == "none" and name == "qom-get"):
                continue
            answer = client.ask(name, **_EXAMPLES.get(name, {}))
            if "error" in answer:
                assert answer["error"]["class"] in ("GenericError", "DeviceNotActive"), (name, answer)
                continue
            schema().results[name].check(answer["return"], name)
    finally:
        machine.close()


def test_events_in_the_sources_are_declared() -> None:
    load_commands()
    emitted: dict[str, str] = {}
    for path in (ROOT / "pcemu").rglob("*.py"):
        pattern = "emit_event" if path.parent.name == "monitor" else "(?:emit_)?event"      # there, event() declares one
        for name in re.findall(pattern + r"\(\s*\"([A-Z_]+)\"", path.read_text()):
            emitted[name] = path.name
    assert set(emitted) - set(table.EVENTS) == set(), "declare them with event()"
    assert set(table.EVENTS) - set(emitted) == set(), "nobody emits these"


def test_parse_takes_single_quotes() -> None:
    assert parse(b"{'a': 'it\\'s', \"b\": \"don't\", 'c': 'say \"x\"'}") == {"a": "it's", "b": "don't", "c": 'say "x"'}
    with pytest.raises(ParseError):
        parse(b"{'a': 'b}")
    assert parse(b"[" * (MAX_NESTING - 1) + b"]" * (MAX_NESTING - 1))


# ---- the object tree ------------------------------------------------------------------------------------------------------


def test_the_tree(client: Client) -> None:
    def names(path: str) -> list[str]:
        return [entry["name"] for entry in client.run("qom-list", path=path)]

    assert names("/") == ["type", "machine", "objects", "chardevs"]
    assert {"type", "kernel", "acpi", "i440fx", "fw_cfg", "unattached", "peripheral", "peripheral-anon"} <= set(names("/machine"))
    assert names("/machine/peripheral") == ["type", "x"]
    assert names("/machine/peripheral-anon") == ["type", "device[0]"]
    assert client.run("qom-get", path="/machine/peripheral-anon/device[0]", property="iobase") == 0x600
    assert names("/chardevs")[:2] == ["type", "r"]
    properties = {entry["name"]: entry["type"] for entry in client.run("qom-list", path="/machine/peripheral/x")}
    assert properties["parent_bus"] == "link<bus>" and properties["iobase"] == "uint32" and properties["realized"] == "bool"
    assert client.run("qom-get", path="/machine/peripheral/x", property="iobase") == 0x501
    assert client.run("qom-get", path="x", property="type") == "isa-debug-exit"         # a partial path
    bus = client.run("qom-get", path="x", property="parent_bus")
    assert client.run("qom-get", path=bus, property="type") == "ISA"
    assert client.run("qom-list", path="/machine/unattached/device[0]")[0]["name"] == "type"
    assert client.run("qom-get", path="/machine", property="type") == "pc-i440fx-7.2-machine"
    assert client.run("qom-get", path="/machine", property="rtc-time").keys() == {
        "tm_year", "tm_mon", "tm_mday", "tm_hour", "tm_min", "tm_sec"}
    assert client.error("qom-get", path="/machine", property="nope") == (
        "GenericError", "Property 'pc-i440fx-7.2-machine.nope' not found")


def test_every_path_answers_and_every_link_leads_somewhere(client: Client) -> None:
    waiting, seen = ["/"], 0
    while waiting:
        path = waiting.pop()
        for entry in client.run("qom-list", path=path):
            value = client.run("qom-get", path=path, property=entry["name"])
            seen += 1
            if entry["type"].startswith("child<"):
                waiting.append(value)
                assert client.run("qom-get", path=value, property="type") == entry["type"][6:-1]
            elif entry["type"].startswith("link<") and value:
                client.run("qom-list", path=value)
    assert seen > 200


def test_types(client: Client) -> None:
    types = {entry["name"]: entry for entry in client.run("qom-list-types")}
    assert types["isa-debug-exit"]["parent"] == "isa-device"
    assert types["max-x86_64-cpu"]["parent"] == "x86_64-cpu"
    assert "isa-device" not in types
    everything = {entry["name"]: entry for entry in client.run("qom-list-types", abstract=True)}
    for entry in everything.values():
        assert entry.get("parent", "object") in everything, entry
    machines = {entry["name"] for entry in client.run("qom-list-types", implements="machine")}
    assert {"pc-i440fx-7.2-machine", "isapc-machine", "none-machine"} <= machines
    assert client.run("qom-list-types", implements="nope") == []
    assert {"name": "iobase", "type": "uint32", "default-value": 0x501, "description": "first I/O port"} in client.run(
        "device-list-properties", typename="isa-debug-exit")
    assert {"name": "avx", "type": "bool"} in client.run("device-list-properties", typename="max-x86_64-cpu")
    assert client.run("qom-list-properties", typename="pc-i440fx-7.2-machine")


# ---- file descriptors -----------------------------------------------------------------------------------------------------


class SocketClient:
    """A client on a Unix socket, in this very thread."""

    def __init__(self, machine: Machine, path: Path) -> None:
        self.machine = machine
        made = chardev.create(machine, {"backend": "socket", "id": "s", "path": str(path), "server": "on", "wait": "off"})
        monitor.create(machine, made, mode="control")
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(str(path))
        self.sock.setblocking(False)
        self.data = b""
        self.read()

    def read(self) -> dict[str, Any]:
        for _ in range(100_000):
            self.machine.loop.call_later(0.002, self.machine.loop.stop)
            self.machine.loop.run_forever()
            with contextlib.suppress(BlockingIOError):
                self.data += self.sock.recv(1 << 16)
            line, newline, rest = self.data.partition(b"\r\n")
            if newline:
                self.data = rest
                found: dict[str, Any] = json.loads(line)
                return found
        raise AssertionError("no answer")

    def ask(self, name: str, /, fds: tuple[int, ...] = (), **arguments: Any) -> dict[str, Any]:
        message = json.dumps({"execute": name, "arguments": {key.replace("_", "-"): value for key, value in arguments.items()}})
        control = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        self.sock.sendmsg([message.encode()], control)
        return self.read()


def test_file_descriptors(machine: Machine, tmp_path: Path) -> None:
    client = SocketClient(machine, tmp_path / "qmp")
    assert client.ask("qmp_capabilities") == {"return": {}}
    wanted = tmp_path / "file"
    fd = os.open(wanted, os.O_RDWR | os.O_CREAT)
    assert client.ask("getfd", (fd,), fdname="out") == {"return": {}}
    assert client.ask("getfd", fdname="other")["error"]["desc"] == "No file descriptor supplied via SCM_RIGHTS"
    assert client.ask("getfd", (fd,), fdname="1x")["error"]["class"] == "GenericError"
    assert client.ask("closefd", fdname="out") == {"return": {}}

    writable = os.open(wanted, os.O_WRONLY)
    made = client.ask("add-fd", (writable,), opaque="wr:file")["return"]
    assert made["fdset-id"] == 0
    assert client.ask("query-fdsets")["return"] == [{"fdset-id": 0, "fds": [{"fd": made["fd"], "opaque": "wr:file"}]}]
    backend = {"type": "file", "data": {"out": "/dev/fdset/0"}}
    assert client.ask("chardev-add", id="c", backend=backend) == {"return": {}}
    machine.chardevs["c"].write(b"through a set")
    machine.chardevs["c"].flush()
    assert wanted.read_bytes() == b"through a set"
    missing = client.ask("chardev-add", id="d", backend={"type": "file", "data": {"out": "/dev/fdset/9"}})
    assert "no such set" in missing["error"]["desc"]
    assert client.ask("remove-fd", fdset_id=0) == {"return": {}}
    assert client.ask("remove-fd", fdset_id=0)["error"]["desc"] == "File descriptor named 'fdset-id:0' not found"

    ours, theirs = socket.socketpair()
    assert client.ask("getfd", (theirs.fileno(),), fdname="pair") == {"return": {}}
    address = {"type": "fd", "data": {"str": "pair"}}
    backend = {"type": "socket", "data": {"addr": address, "server": False}}
    assert client.ask("chardev-add", id="e", backend=backend) == {"return": {}}
    machine.chardevs["e"].write(b"hello")
    machine.chardevs["e"].flush()
    assert ours.recv(10) == b"hello"
    for each in (ours, theirs, client.sock):
        each.close()
    os.close(fd)
    os.close(writable)


def test_a_connection_from_outside(machine: Machine, tmp_path: Path) -> None:
    """add_client: what a manager has accepted becomes the peer of a character device."""
    client = SocketClient(machine, tmp_path / "qmp")
    client.ask("qmp_capabilities")
    address = {"type": "unix", "data": {"path": str(tmp_path / "sock")}}
    backend = {"type": "socket", "data": {"addr": address, "server": True, "wait": False}}
    assert client.ask("chardev-add", id="t", backend=backend) == {"return": {}}
    machine.chardevs["t"].on_input = lambda data: None
    ours, theirs = socket.socketpair()
    ours.settimeout(300)
    with ours, theirs, open(os.devnull, "rb") as plain:
        for fd, protocol, text in ((theirs.fileno(), "nope", "protocol 'nope' is invalid"),
                                   (plain.fileno(), "t", "parameter @fdname must name a socket"),
                                   (theirs.fileno(), "r", "failed to add client")):  # fmt: skip
            client.ask("getfd", (fd,), fdname="x")
            assert client.ask("add_client", protocol=protocol, fdname="x")["error"]["desc"] == text
        assert "has not been found" in client.ask("add_client", protocol="t", fdname="x")["error"]["desc"]
        client.ask("getfd", (theirs.fileno(),), fdname="x")
        assert client.ask("add_client", protocol="t", fdname="x") == {"return": {}}
        machine.chardevs["t"].write(b"hello")
        machine.chardevs["t"].flush()
        assert ours.recv(10) == b"hello"
        client.ask("getfd", (theirs.fileno(),), fdname="x")
        assert client.ask("add_client", protocol="t", fdname="x")["error"]["desc"] == "failed to add client"
    client.ask("query-status")
    other = socket.socket(socket.AF_UNIX)
    other.settimeout(300)
    with other:
        other.connect(str(tmp_path / "sock"))       # its own clients come again
        for _ in range(100):
            if machine.chardevs["t"].connected:
                break
            client.ask("query-status")
        machine.chardevs["t"].write(b"again")
        machine.chardevs["t"].flush()
        assert other.recv(10) == b"again"
    client.sock.close()


def test_a_new_client_negotiates_anew(machine: Machine, tmp_path: Path) -> None:
    client = SocketClient(machine, tmp_path / "qmp")
    client.ask("qmp_capabilities")
    client.sock.sendall(b'{"execute":"stop","argu')            # half a line, and gone
    client.sock.close()
    again = socket.socket(socket.AF_UNIX)
    again.connect(str(tmp_path / "qmp"))
    again.setblocking(False)
    client.sock, client.data = again, b""
    assert "QMP" in client.read()
    assert client.ask("query-status")["error"]["class"] == "CommandNotFound"
    assert client.ask("qmp_capabilities") == {"return": {}}
    again.close()


# ---- commands -------------------------------------------------------------------------------------------------------------


def test_a_pty_is_told_in_the_answer_only(client: Client, capfd: pytest.CaptureFixture[str]) -> None:
    """Standard output may be the monitor's own stream."""
    assert client.run("chardev-add", id="p", backend={"type": "pty", "data": {}})["pty"].startswith("/dev/pts/")
    assert client.run("human-monitor-command", command_line="chardev-add pty,id=p2").startswith("char device redirected to /dev/")
    assert capfd.readouterr().out == ""


def test_identifiers_and_integers(client: Client) -> None:
    name, text = client.error("device_add", driver="isa-debug-exit", id="1x")
    assert "identifier" in text and name == "GenericError"
    assert "integer" in client.error("pmemsave", val=1 << 63, size=1, filename="/nonexistent")[1]
    # A stopped guest takes no keys.
    events = [{"type": "key", "data": {"down": True, "key": {"type": "qcode", "data": "a"}}}]
    assert client.error("input-send-event", events=events) == ("GenericError", "VM not running")
    assert client.error("input-send-event", device="x", events=events)[0] == "DeviceNotFound"


def test_character_devices(client: Client, tmp_path: Path) -> None:
    assert client.run("chardev-add", id="f", backend={"type": "file", "data": {"out": str(tmp_path / "f")}}) == {}
    assert client.run("chardev-add", id="p", backend={"type": "pty", "data": {}})["pty"].startswith("/dev/pts/")
    assert client.error("chardev-add", id="f", backend={"type": "null", "data": {}})[0] == "GenericError"
    assert client.error("chardev-add", id="z", backend={"type": "file", "data": {}}) == (
        "GenericError", "Parameter 'backend.data.out' is missing")
    assert client.run("chardev-remove", id="f") == {}
    assert client.error("chardev-remove", id="f") == ("GenericError", "Chardev 'f' not found")
    assert client.run("ringbuf-write", device="r", data="aGk=", format="base64") == {}
    assert client.error("ringbuf-write", device="r", data="%", format="base64")[1] == "Invalid base64 data"


def test_a_serial_port_changes_its_back_end(tmp_path: Path) -> None:
    machine = build(chardevs=[{"backend": "ringbuf", "id": "c"}], serials=["chardev:c"])
    client = Client(machine)
    serial: Any = machine.find("isa-serial")
    serial.io_write(0, ord("a"), 1)
    assert machine.chardevs["c"].read_ring(9) == b"a"
    assert client.run("chardev-change", id="c", backend={"type": "file", "data": {"out": str(tmp_path / "out")}}) == {}
    serial.io_write(0, ord("b"), 1)
    machine.chardevs["c"].flush()
    assert (tmp_path / "out").read_bytes() == b"b"
    assert client.error("chardev-change", id="c", backend={"type": "file", "data": {"out": "/nowhere/x"}})[0] == "GenericError"
    serial.io_write(0, ord("c"), 1)
    machine.chardevs["c"].flush()
    assert (tmp_path / "out").read_bytes() == b"bc"
    machine.close()


def test_keys(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    keyboard: Any = client.machine.find("ps2-kbd")
    pressed: list[tuple[str, bool]] = []
    monkeypatch.setattr(keyboard, "key_event", lambda name, down: pressed.append((name, down)))
    keys = [{"type": "qcode", "data": "ctrl"}, {"type": "number", "data": 0x1E}]
    assert client.run("send-key", keys=keys, hold_time=10) == {}
    assert pressed == [("ctrl", True), ("a", True)]
    assert client.error("send-key", keys=[{"type": "qcode", "data": 5}])[0] == "GenericError"
    assert client.error("send-key", keys=[{"type": "qcode", "data": "nokey"}])[0] == "GenericError"


def test_set_action(client: Client) -> None:
    assert client.run("set-action", shutdown="pause", reboot="shutdown") == {}
    config = client.machine.config
    assert (config.action_shutdown, config.no_shutdown, config.no_reboot) == ("pause", True, True)
    assert client.run("set-action", shutdown="poweroff") == {}
    assert not config.no_shutdown and config.no_reboot
    client.run("watchdog-set-action", action="inject-nmi")
    assert config.action_watchdog == "inject-nmi"


def test_mouse_and_boot_commands(machine: Machine) -> None:
    from pcemu.monitor import Shell

    shell = Shell(machine)
    mouse: Any = machine.find("ps2-mouse")
    moved: list[Any] = []
    mouse.mouse_event = lambda *distances, buttons=0: moved.append((*distances, buttons))
    assert shell.run("mouse_move 3 -4") == shell.run("mouse_button 5") == ""
    assert moved == [(3, -4, 0, 0), (mouse.LEFT | mouse.RIGHT,)]
    index = shell.run("info mice").partition("#")[2].partition(":")[0]
    assert shell.run(f"mouse_set {index}") == ""
    assert shell.run("mouse_set 9999") == "Error: Mouse at index '9999' not found\n"
    assert shell.run("boot_set nc") == "boot device list now set to nc\n"
    rtc: Any = machine.find("mc146818rtc")
    assert (rtc.get_cmos(0x3D), rtc.get_cmos(0x38)) == (0x24, 0)          # network, then hard disk
    assert shell.run("boot_set cc") == "Error: Invalid boot device list 'cc'\n"
    assert shell.run("info qdm").count('name "isa-serial", bus ISA') == 1
    assert 'name "isa-i8259", bus ISA' in shell.run("info qdm") and ", no-user" in shell.run("info qdm")


def test_objects(client: Client) -> None:
    assert client.run("object-add", qom_type="rng-builtin", id="rng0") == {}
    assert client.run("qom-get", path="/objects/rng0", property="type") == "rng-builtin"
    assert client.error("object-add", qom_type="rng-builtin", id="rng0")[1] == "Duplicate ID 'rng0' for object"
    assert client.error("object-add", qom_type="rng-builtin", id="x", nonsense=1)[1].startswith("Invalid parameter 'nonsense'")
    assert client.run("object-del", id="rng0") == {}
    assert client.error("object-del", id="rng0")[1] == "object 'rng0' not found"
    assert client.error("device_add", driver="isa-debug-exit", iobase=8)[1] == "Bus 'isa.0' does not support hotplugging"
    assert client.error("device_del", id="x")[1] == "Bus 'isa.0' does not support hotplugging"


def test_keys_buttons_and_moves(client: Client) -> None:
    keyboard: Any = client.machine.find("ps2-kbd")
    mouse: Any = client.machine.find("ps2-mouse")
    seen: list[Any] = []
    client.run("cont")          # a guest that is stopped takes none
    keyboard.key_event = lambda name, down: seen.append((name, down))
    mouse.mouse_event = lambda dx=0, dy=0, dz=0, buttons=0: seen.append((dx, dy, dz, buttons))

    def key(kind: str, data: Any, down: bool) -> dict[str, Any]:
        return {"type": "key", "data": {"key": {"type": kind, "data": data}, "down": down}}

    client.run("input-send-event", events=[
        key("qcode", "ctrl", True), key("number", 0x1E, True), {"type": "rel", "data": {"axis": "x", "value": -5}},
        {"type": "btn", "data": {"button": "right", "down": True}}, {"type": "btn", "data": {"button": "wheel-up", "down": True}},
        {"type": "btn", "data": {"button": "wheel-up", "down": False}}])  # fmt: skip
    assert seen == [("ctrl", True), ("a", True), (-5, 0, 0, 0), (0, 0, 0, mouse.RIGHT), (0, 0, -1, 0)]
    seen.clear()
    assert client.error("input-send-event", events=[key("qcode", "a", True), key("qcode", "nokey", True)])[0] == "GenericError"
    assert client.error("input-send-event", device="d", events=[])[1] == "Device 'd' not found"
    assert client.error("input-send-event", events=[{"type": "abs", "data": {}}])[0] == "GenericError"
    assert seen == [], "all or none"


def test_texts_for_programs(client: Client) -> None:
    for name in ("irq", "jit", "numa", "ramblock", "roms"):
        assert client.run(f"x-query-{name}") == {"human-readable-text": client.run(
            "human-monitor-command", command_line=f"info {name}").replace("\r", "")}  # fmt: skip
    rtc: Any = client.machine.find("mc146818rtc")
    rtc.lost = 7
    client.run("rtc-reset-reinjection")
    assert rtc.lost == 0


def test_suspend_to_disk_is_told(client: Client) -> None:
    pm: Any = client.machine.find("PIIX4_PM")
    pm.control_write(0, pm.s4_val << 10 | 1 << 13, 2)
    client.turn()
    client.answers()
    assert [event["event"] for event in client.events] == ["SUSPEND_DISK"]


def test_receive_filters() -> None:
    machine = build(devices=[DeviceConfig("virtio-net-pci", {"id": "n0", "mac": "52:54:00:12:34:56", "romfile": ""})])
    client = Client(machine)
    (found,) = client.run("query-rx-filter")
    assert found["main-mac"] == "52:54:00:12:34:56" and found["promiscuous"] and found["vlan"] == "all"
    card: Any = next(device for device in machine.devices if hasattr(device, "rx_filter"))
    card.features = (1 << 64) - 1
    for _ in range(2):
        assert card.run_command(0, 0, b"\0") == 0                        # promiscuous: off
    table = b"\0\0\0\0" + b"\1\0\0\0" + bytes.fromhex("333300000001")
    assert card.run_command(1, 0, table) == 0
    client.turn()
    client.answers()
    path = "/machine/peripheral/n0/virtio-backend"
    told = {"event": "NIC_RX_FILTER_CHANGED", "data": {"name": "n0", "path": path}}
    assert [{key: event[key] for key in told} for event in client.events] == [told], "once until it is asked for"
    (found,) = client.run("query-rx-filter", name=found["name"])
    assert not found["promiscuous"] and found["multicast-table"] == ["33:33:00:00:00:01"] and found["multicast"] == "normal"
    assert client.error("query-rx-filter", name="x")[1] == "invalid net client name: x"
    machine.close()


def test_streams_tell_of_connections(tmp_path: Path) -> None:
    machine = build()
    client = Client(machine)
    path = str(tmp_path / "net")
    client.run("netdev_add", type="stream", id="s0", server=True, addr={"type": "unix", "path": path})
    with socket.socket(socket.AF_UNIX) as peer:
        peer.connect(path)
        client.turn()
    client.turn()
    client.answers()
    assert [(event["event"], event["data"]) for event in client.events] == [
        ("NETDEV_STREAM_CONNECTED", {"netdev-id": "s0", "addr": {"type": "unix", "path": path}}),
        ("NETDEV_STREAM_DISCONNECTED", {"netdev-id": "s0"})]  # fmt: skip
    machine.close()


def test_ports_of_programs_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = build(devices=[DeviceConfig("virtio-serial-pci", {"id": "s"}), DeviceConfig("virtserialport", {"id": "agent"}),
                             DeviceConfig("virtserialport", {})])  # fmt: skip
    client = Client(machine)
    monkeypatch.setattr(machine.loop, "time", lambda: 1000.0)
    named, other = machine.by_id["agent"], next(device for device in machine.devices if device.type_name == "virtserialport"
                                                and not device.id)  # fmt: skip
    for port in (named, other):
        for on in (True, True):
            port.set_guest_connected(on)
    named.reset()
    client.turn()
    client.answers()
    assert [event["data"] for event in client.events] == [{"id": "agent", "open": True}], "the second is held back a second"
    held = client.monitor._held["VSERPORT_CHANGEagent"][1]
    assert held["data"] == {"id": "agent", "open": False}
    machine.close()
