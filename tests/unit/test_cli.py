"""From arguments to a configuration."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pcemu.cli import apply, optstr
from pcemu.cli.errors import Done, UsageError
from pcemu.cli.help import help_text, reference
from pcemu.cli.parser import parse
from pcemu.cli.table import BY_NAME, OPTIONS
from pcemu.machine import types
from pcemu.machine.config import MachineConfig, MonitorConfig


def config(*arguments: str) -> MachineConfig:
    return parse(["-display", "none", *arguments])


def error(*arguments: str) -> str:
    with pytest.raises(UsageError) as caught:
        parse(["-display", "none", *arguments])
    return str(caught.value)


def listing(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(Done):
        parse(arguments)
    return capsys.readouterr().out


# -- option strings -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "pairs"),
    [
        ("", []),
        ("a", [("a", None)]),
        ("a=1,b,c=", [("a", "1"), ("b", None), ("c", "")]),
        ("path=a,,b,c=d", [("path", "a,b"), ("c", "d")]),
        ("path=a,,,b", [("path", "a,"), ("b", None)]),
        (",,", [(",", None)]),
        ("a=b=c", [("a", "b=c")]),
        ("a=1,", [("a", "1")]),
    ],
)
def test_split(text: str, pairs: list[tuple[str, str | None]]) -> None:
    assert optstr.split(text) == pairs


def test_implied_first_key_and_flags() -> None:
    assert optstr.parse("socket,id=c,server,nowait", "backend") == {
        "backend": "socket", "id": "c", "server": "on", "nowait": "on"}  # fmt: skip
    assert optstr.parse("a=1,a=2") == {"a": "2"}


# -- the table ------------------------------------------------------------------------------------------------


def test_every_row_of_the_table_is_whole() -> None:
    names = [name for option in OPTIONS for name in option.names]
    assert len(names) == len(set(names))
    for option in OPTIONS:
        assert option.help, option.names
        assert not option.do or option.do in apply._FUNCTIONS, option.do
    assert set(apply._FUNCTIONS) == {option.do for option in OPTIONS if option.do}


def test_help_and_reference_name_every_option() -> None:
    text, markdown = help_text(), reference()
    for option in OPTIONS:
        for name in option.names:
            assert f"-{name}" in text
            assert f"-{name}" in markdown


@pytest.mark.parametrize("name", sorted(name for name, option in BY_NAME.items() if not option.implemented))
def test_later_options_are_refused_by_name(name: str) -> None:
    assert error(f"-{name}", "x") == f"-{name}: not implemented yet"


# -- values ---------------------------------------------------------------------------------------------------


def test_empty_command_line() -> None:
    c = config()
    assert (c.machine, c.accel, c.cpu, c.smp, c.ram_size, c.seed) == ("pc", "tcg", "", 1, 128 << 20, 0)
    assert (c.serials, c.monitors, c.icount) == (["null"], [], None)


@pytest.mark.parametrize(
    ("text", "size"),
    [("64", 64 << 20), ("1G", 1 << 30), ("size=512M", 512 << 20), ("1.5g", 3 << 29), ("2048k", 2 << 20), ("0", 128 << 20)],
)
def test_memory(text: str, size: int) -> None:
    assert config("-m", text).ram_size == size


def test_double_dash() -> None:
    assert config("--m", "64").ram_size == 64 << 20


def test_nographic_consoles() -> None:
    assert config("-nographic").serials == ["mon:stdio"]
    c = config("-nographic", "-serial", "null")
    assert (c.serials, c.monitors) == (["null"], [MonitorConfig("stdio")])
    c = config("-nographic", "-monitor", "none")
    assert (c.serials, c.monitors) == (["stdio"], [])
    c = config("-nographic", "-nodefaults")
    assert (c.serials, c.monitors) == ([], [])
    c = config("-nographic", "-serial", "mon:stdio")
    assert (c.serials, c.monitors) == (["mon:stdio"], [])
    c = config("-serial", "none", "-serial", "file:a", "-monitor", "pty", "-mon", "c0")
    assert (c.serials, c.monitors) == (["file:a"], [MonitorConfig("pty"), MonitorConfig("chardev:c0")])
    assert config("-device", "isa-serial").serials == []


def test_missing_display_is_said_once(capsys: pytest.CaptureFixture[str]) -> None:
    parse([])
    assert capsys.readouterr().err.count("no display is available") == 1
    parse(["-display", "none"])
    parse(["-nographic"])
    parse(["-nodefaults"])
    assert capsys.readouterr().err == ""


def test_devices_and_globals() -> None:
    c = config("-chardev", "file,id=c0,path=a,,b.log", "-device", "isa-serial,chardev=c0,id=s0,index=1",
               "-device", '{"driver": "isa-debug-exit", "iobase": 244, "iosize": 4}',
               "-global", "isa-debugcon.iobase=0x402", "-global", "driver=mc146818rtc,property=base_year,value=0")  # fmt: skip
    assert c.chardevs == [{"backend": "file", "id": "c0", "path": "a,b.log"}]
    assert [(d.driver, d.props) for d in c.devices] == [
        ("isa-serial", {"chardev": "c0", "id": "s0", "index": "1"}),
        ("isa-debug-exit", {"iobase": "244", "iosize": "4"}),
    ]
    assert c.globals == [("isa-debugcon", "iobase", "0x402"), ("mc146818rtc", "base_year", "0")]


def test_machine_options() -> None:
    c = config("-machine", "pc-i440fx-trusty,accel=kvm:tcg,usb=off,hpet=off", "-M", "kernel=k,append=a")
    assert (c.machine, c.machine_options, c.accel) == ("pc-i440fx-trusty", {"usb": "off", "hpet": "off"}, "tcg")
    assert (c.kernel, c.append) == ("k", "a")


@pytest.mark.parametrize(
    "name", ["pc", "pc-i440fx-7.2", "pc-i440fx-2.12", "pc-i440fx-9.1", "pc-i440fx-focal-hpb", "isapc", "none"]
)
def test_machine_names(name: str) -> None:
    assert config("-M", name).machine == name
    assert types.board_key(name) in types.BOARDS


def test_ends() -> None:
    c = config("-no-reboot", "-no-shutdown")
    assert (c.action_reboot, c.action_shutdown, c.no_reboot, c.no_shutdown) == ("shutdown", "pause", True, True)
    c = config("-action", "reboot=shutdown,panic=none,watchdog=debug")
    assert (c.action_reboot, c.action_panic, c.action_watchdog, c.no_reboot) == ("shutdown", "none", "debug", True)


def test_time() -> None:
    c = config("-icount", "shift=3,sleep=off", "-rtc", "base=2024-02-29T12:00:00,clock=vm,driftfix=slew", "-seed", "42")
    assert c.icount is not None
    assert (c.icount.shift, c.icount.sleep, c.seed) == (3, False, 42)
    assert (c.rtc.clock, c.rtc.driftfix, c.rtc.start_ns()) == ("vm", "slew", 1709208000 * 10**9)
    assert config("-icount", "5").icount.shift == 5


def test_icount_auto() -> None:
    assert config("-icount", "auto").icount.shift is None
    assert config("-icount", "shift=auto,sleep=on").icount.shift is None


def test_logs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    events = tmp_path / "events"
    events.write_text("# which\npit_*\n-pit_read\n")
    c = config("-d", "unimp,guest_errors,mmu,trace:rtc_*", "-D", "x.log", "-trace", f"apic_*,events={events}")
    assert c.log_items == {"unimp", "guest_errors"}
    assert c.trace_events == ["rtc_*", "apic_*", "pit_*", "-pit_read"]
    assert c.log_file == "x.log"
    assert capsys.readouterr().err == "pcemu: warning: -d mmu: not available\n"


def test_identity() -> None:
    c = config("-name", "guest=a,,b,debug-threads=on", "-uuid", "1F8E6F7E-5a70-4780-89c1-464dc0e7f308",
               "-smbios", "type=1,manufacturer=OpenStack Foundation,version=2014.1",
               "-fw_cfg", "opt/a,string=text", "-fw_cfg", "name=opt/b,file=f", "-boot", "nc,menu=on,strict=on")  # fmt: skip
    assert (c.name, c.uuid) == ("a,b", "1f8e6f7e-5a70-4780-89c1-464dc0e7f308")
    assert c.smbios == [{"type": "1", "manufacturer": "OpenStack Foundation", "version": "2014.1"}]
    assert [(e.name, e.string, e.file) for e in c.fw_cfg] == [("opt/a", "text", None), ("opt/b", None, "f")]
    assert (c.boot.order, c.boot.menu, c.boot.strict) == ("nc", True, True)


def test_accepted_without_effect() -> None:
    config("-no-user-config", "-realtime", "mlock=off", "-overcommit", "mem-lock=off", "-net", "none", "-nic", "none",
           "-vga", "none", "-parallel", "none", "-sandbox", "off", "-smp", "1,sockets=1,cores=1,threads=1")  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["-bogus"], "-bogus: invalid option"),
        (["-kernal", "x"], "-kernal: invalid option (did you mean '-kernel'?)"),
        (["-m"], "-m: requires an argument"),
        (["-m", "12x"], "-m 12x: '12x' is not a size such as 64K, 512M or 2G"),
        (["-m", "1G,slots=2"], "-m 1G,slots=2: slots and maxmem (memory hotplug): not implemented yet"),
        (["-m", "sise=1G"], "-m sise=1G: Invalid parameter 'sise' (did you mean 'size'?)"),
        (["-smp", "2"], "-smp 2: more than one processor (cpus=2): not implemented yet"),
        (["-machine", "bogus"],
         "-machine bogus: unsupported machine type; use -machine help to list supported machines"),
        (["-M", "ispc"],
         "-machine ispc: unsupported machine type (did you mean 'isapc'?); use -machine help to list supported machines"),
        (["-machine", "q35"], "-machine q35: not implemented yet"),
        (["-device", "bogus"], "-device bogus: 'bogus' is not a valid device model name"),
        (["-device", "isa-serail,id=x"],
         "-device isa-serail,id=x: 'isa-serail' is not a valid device model name (did you mean 'isa-serial'?)"),
        (["-device", "e1000"], "-device e1000: device 'e1000' is not implemented yet"),
        (["-device", "isa-serial,indx=1"],
         "-device isa-serial,indx=1: Property 'isa-serial.indx' not found (did you mean 'index'?)"),
        (["-device", "isa-serial,id=1x"], "-device isa-serial,id=1x: Parameter 'id' expects an identifier, not '1x'"),
        (["-accel", "kvm"], "-accel kvm: pcemu has no KVM; use -accel tcg, or -machine accel=kvm:tcg for both"),
        (["-enable-kvm"], "-enable-kvm: pcemu has no KVM; use -accel tcg, or -machine accel=kvm:tcg for both"),
        (["-accel", "tccg"], "-accel tccg: invalid accelerator 'tccg' (did you mean 'tcg'?)"),
        (["-icount", "shift=99"], "-icount shift=99: shift: 'auto' or an integer from 0 to 10 is expected, not '99'"),
        (["-rtc", "base=someday"],
         "-rtc base=someday: invalid datetime 'someday', valid are 2006-06-17T16:01:21 and 2006-06-17"),
        (["-rtc", "clock=wall"], "-rtc clock=wall: 'wall' is not what clock takes: one of host, rt, vm"),
        (["-boot", "z"], "-boot z: Invalid boot device 'z'"),
        (["-uuid", "1234"], "-uuid 1234: not a UUID (xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx)"),
        (["-vga", "std"], "-vga std: not implemented yet"),
        (["-display", "gtk"], "-display gtk: not implemented yet"),
        (["-nic", "user,model=e1000"], "-nic user,model=e1000: NIC model 'e1000' is not implemented yet"),
        (["-nic", "user,model=e1001"], "-nic user,model=e1001: Unsupported NIC model: e1001"),
        (["-netdev", "user"], "-netdev user: Parameter 'id' is missing"),
        (["-netdev", "user,id=a", "-netdev", "tap,id=a"], "-netdev tap,id=a: Duplicate ID 'a' for netdev"),
        (["-object", "filter-dump"], "-object filter-dump: Parameter 'id' is missing"),
        (["-object", "filter-dumb,id=a"],
         "-object filter-dumb,id=a: Parameter 'qom-type' does not accept value 'filter-dumb' (did you mean 'filter-dump'?)"),
        (["-d", "guest_erors"], "-d guest_erors: invalid log item (did you mean 'guest_errors'?)"),
        (["-action", "reboot=halt"], "-action reboot=halt: 'halt' is not what reboot takes: one of reset, shutdown"),
        (["-seed", "-1"], "-seed -1: an integer from 0 to 18446744073709551615 is expected"),
        (["-fw_cfg", "opt/x"], "-fw_cfg opt/x: one of file and string is needed"),
        (["-global", "nonsense"], "-global nonsense: Invalid parameter 'nonsense'"),
        (["disk.img"], "-hda disk.img: not implemented yet"),
    ],
)  # fmt: skip
def test_errors(arguments: list[str], text: str) -> None:
    assert error(*arguments) == text


def test_kvm_with_a_fallback_runs(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["-machine", "accel=kvm:tcg"], ["-accel", "kvm", "-accel", "tcg"]):
        assert config(*arguments).accel == "tcg"
        assert "pcemu has no KVM, falling back to tcg" in capsys.readouterr().err


# -- lists ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "texts"),
    [
        (["-version"], ["pcemu emulator version"]),
        (["-h"], ["-kernel FILE"]),
        (["-machine", "help"], ["pc                   Standard PC (i440FX + PIIX, 1996) (alias of pc-i440fx-7.2)", "isapc  "]),
        (["-accel", "help"], ["tcg"]),
        (["-d", "help"], ["guest_errors", "unimp"]),
        (["-vga", "help"], ["none"]),
        (["-device", "isa-debug-exit,help"],
         ["isa-debug-exit options:", "  iobase=<uint32>        - first I/O port (default: 1281)"]),
        (["-device", "help"], ["Misc devices:", 'name "isa-debug-exit", bus ISA']),
        (["-chardev", "help"], ["  stdio"]),
        (["-trace", "help"], ["pit_ioport_write"]),
    ],
)  # fmt: skip
def test_lists(capsys: pytest.CaptureFixture[str], arguments: list[str], texts: list[str]) -> None:
    out = listing(capsys, *arguments)
    for text in texts:
        assert text in out


def test_cpu_help_lists_models(capsys: pytest.CaptureFixture[str]) -> None:
    out = listing(capsys, "-cpu", "help")
    for name in ["qemu32", "qemu64", "max", "486", "pentium", "pentium3", "core2duo", "Nehalem", "SandyBridge", "Haswell"]:
        assert f"x86 {name} " in out
    assert "Recognized CPUID flags:" in out


def test_unknown_device_type_help() -> None:
    assert error("-device", "bogus,help") == "-device bogus,help: 'bogus' is not a valid device model name"


def test_nova_command_line_is_refused_only_for_what_is_missing() -> None:
    """The options libvirt gives, without those that are for later."""
    arguments: list[Any] = [
        "-name", "instance-00000024", "-S", "-machine", "pc-i440fx-trusty,accel=kvm:tcg,usb=off", "-cpu", "SandyBridge,+erms",
        "-m", "2048", "-realtime", "mlock=off", "-smp", "1,sockets=1,cores=1,threads=1",
        "-uuid", "1f8e6f7e-5a70-4780-89c1-464dc0e7f308",
        "-smbios", "type=1,manufacturer=OpenStack Foundation,product=OpenStack Nova",
        "-no-user-config", "-nodefaults", "-chardev", "socket,id=charmonitor,path=/tmp/m,server,nowait",
        "-mon", "chardev=charmonitor,id=monitor,mode=readline", "-rtc", "base=utc,driftfix=slew",
        "-global", "kvm-pit.lost_tick_policy=discard", "-no-hpet", "-no-shutdown", "-boot", "strict=on",
        "-chardev", "file,id=charserial0,path=console.log", "-device", "isa-serial,chardev=charserial0,id=serial0",
    ]  # fmt: skip
    c = config(*arguments)
    assert c.paused and c.no_hpet and c.nodefaults and c.serials == []


# -- options in files, and options changed ----------------------------------------------------------------------


def test_readconfig_and_set(tmp_path: Path) -> None:
    file = tmp_path / "vm.cfg"
    file.write_text('''# a machine
[machine]
  type = "isapc"
[memory]
  size = "64"

[chardev "c0"]
  backend = "file"
  path = "/tmp/a,b"
[device "x"]
  driver = "isa-debug-exit"
[name]
  guest = "from a file"
''')
    config = parse(["-readconfig", str(file), "-set", "device.x.iobase=0x700", "-set", "chardev.c0.append=on"])
    assert (config.machine, config.ram_size, config.name) == ("isapc", 64 << 20, "from a file")
    assert config.chardevs == [{"backend": "file", "id": "c0", "path": "/tmp/a,b", "append": "on"}]
    assert config.devices[0].props == {"id": "x", "iobase": "0x700"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nonsense\n", ':1: [group] or key = "value" is expected'),
        ('[device "x"]\ndriver\n', ':2: [group] or key = "value" is expected'),
        ('\n[nothing]\n', ":2: there is no group 'nothing'"),
        ('[memory]\nsize = "many"\n', ":1: -m size=many: 'many' is not"),
    ],
)
def test_readconfig_errors(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "vm.cfg"
    file.write_text(text)
    with pytest.raises(UsageError) as caught:
        parse(["-readconfig", str(file)])
    assert message in str(caught.value) and str(caught.value).startswith(f"-readconfig {file}")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-readconfig", "/nowhere"], "-readconfig /nowhere: No such file or directory"),
        (["-set", "device.x"], "-set device.x: GROUP.ID.ARG=VALUE is expected"),
        (["-set", "device.x.a=b"], '-set device.x.a=b: there is no device "x" defined'),
        (["-set", "cpu.x.a=b"], "-set cpu.x.a=b: there is no group 'cpu'; one of device, chardev, drive, object, netdev"),
        (["-add-fd", "fd=1,set=0"], "-add-fd fd=1,set=0: fd: 0, 1 and 2 are the standard files"),
        (["-add-fd", "fd=999,set=0"], "-add-fd fd=999,set=0: fd: Bad file descriptor"),
        (["-sandbox", "off,spawn=deny"], "-sandbox off,spawn=deny: only sandbox=on has other keys"),
        (["-sandbox", "on,spawn=maybe"], "-sandbox on,spawn=maybe: 'maybe' is not what spawn takes: one of allow, deny"),
        (["-nographic", "-daemonize"], "-nographic cannot be used with -daemonize"),
    ],
)
def test_service_errors(arguments: list[str], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse(arguments)
    assert str(caught.value) == message
