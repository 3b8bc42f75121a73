"""The table of command-line options. The parser, -help, the refusals and the reference docs are read from it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Option:
    """One row. `do` names the function that applies it (see apply.py); without one it is for a later version."""

    names: tuple[str, ...]
    arg: str  # what its argument looks like; "" takes none
    help: str
    section: str
    do: str

    @property
    def name(self) -> str:
        return self.names[0]

    @property
    def implemented(self) -> bool:
        return bool(self.do)


SECTIONS = ("Standard options", "Devices", "Character devices and monitors", "Direct boot", "Time", "Debugging",
            "Display, network and disks")  # fmt: skip

# names | argument | what applies it ("-": later) | help
_ROWS = """
# Standard options
h help                | | help | print this help and exit
version               | | version | print the version and exit
machine M             | [type=]NAME[,prop=value...] | machine | the board to build ('-machine help' lists them)
accel                 | [accel=]NAME[,prop=value...] | accel | how to execute guest code; 'tcg' is pcemu's own core
enable-kvm            | | enable_kvm | the same as -accel kvm, which pcemu does not have
cpu                   | MODEL[,+flag,-flag,flag=on|off,enforce] | cpu | processor model ('-cpu help' lists them)
smp                   | [cpus=]N[,sockets=..,cores=..,threads=..] | smp | number of processors; one for now
m                     | [size=]SIZE | memory | RAM; a bare number is in MiB (default: 128)
mem-path              | PATH | mem_path | guest RAM in a file, or in a nameless one in a directory
mem-prealloc          | | mem_prealloc | have the host give all guest RAM at the start
overcommit            | [mem-lock=on|off][,cpu-pm=on|off] | overcommit | host memory and power policy
realtime              | mlock=on|off | realtime | older spelling of -overcommit mem-lock
boot                  | [order=]DRIVES[,once=..][,menu=on|off][,strict=on|off] | boot | what firmware boots from
name                  | [guest=]NAME[,process=..][,debug-threads=on|off] | name | the guest's name
uuid                  | UUID | uuid | the system's UUID
smbios                | type=N,field=value... or file=PATH | smbios | SMBIOS fields or a binary table
no-hpet               | | no_hpet | build no HPET
no-acpi               | | no_acpi | give the guest no ACPI tables
no-fd-bootchk         | | no_fd_bootchk | firmware does not check floppies' boot signatures
win2k-hack            | | - | slow IDE down for Windows 2000's installer
nodefaults            | | nodefaults | no devices but the board's and those that are asked for
no-user-config        | | no_op | read no configuration file (pcemu never does)
readconfig            | FILE | readconfig | read options from a file: [group "id"] and key = "value" lines
L                     | DIR | data_dir | look for firmware files in DIR ('-L help' lists directories)
no-reboot             | | no_reboot | end when the guest resets the machine
no-shutdown           | | no_shutdown | stay, paused, when the guest powers the machine off
action                | EVENT=ACTION[,...] | action | what a reboot, shutdown, panic or watchdog does
S                     | | paused | do not start; 'cont' on the monitor does
seed                  | N | seed | seed of all random numbers the guest can see (default: 0)
sandbox               | on|off[,obsolete=..][,elevateprivileges=..][,spawn=..][,resourcecontrol=..] | sandbox | seccomp filter
daemonize             | | daemonize | run in the background; the command returns when everything listens
pidfile               | FILE | pid_file | write the process id to a file
runas                 | USER | run_as | change to a user (a name, or UID:GID) after start
chroot                | DIR | chroot | change the root directory after start
async-teardown        | | - | clean up in the background
compat                | [deprecated-input=..][,...] | - | policy for deprecated interfaces
msg                   | [timestamp=on|off][,guest-name=on|off] | msg | what messages begin with
set                   | GROUP.ID.ARG=VALUE | set_ | change an option given before: a device, chardev, netdev, drive or object
numa                  | TYPE[,prop=value...] | - | NUMA nodes
preconfig             | | - | pause before the machine is built
only-migratable       | | - | refuse what cannot be migrated
dump-vmstate          | FILE | - | describe the saved state
incoming              | URI | - | wait for a migration
loadvm                | TAG | - | start from a saved state
add-fd                | fd=N,set=N[,opaque=..] | add_fd | make an open file descriptor a member of /dev/fdset/N
no-kvm                | | no_kvm | older spelling of -accel tcg
no-kvm-irqchip        | | no_op | interrupt controllers are pcemu's own (they always are)
no-kvm-pit            | | no_effect | of KVM (no effect: a warning)
no-kvm-pit-reinjection | | no_effect | of KVM (no effect: a warning)
rtc-td-hack           | | rtc_td_hack | older spelling of -rtc driftfix=slew
tdf                   | | no_effect | of KVM (no effect: a warning)
# Devices
device                | TYPE[,prop=value...] | device | add a device ('-device help' lists types, 'TYPE,help' properties)
global                | TYPE.PROP=VALUE | global_ | another default for a property of a device type
fw_cfg                | [name=]NAME,file=PATH or string=TEXT | fw_cfg | add a file to the firmware configuration device
object                | TYPE,id=ID[,prop=value...] | object_ | add an object ('-object help' lists types, 'TYPE,help' properties)
tpmdev                | TYPE,id=ID[,...] | - | TPM back end
audiodev              | [driver=]none,id=ID or JSON | audiodev | where sound goes; 'none' for now
audio                 | TYPE[,...] | - | audio back end and device
audio-help            | | - | list audio options
soundhw               | CARD[,...] | - | add sound cards
usb                   | | - | add a USB controller
usbdevice             | NAME | - | add a USB device
watchdog              | MODEL | - | add a watchdog
watchdog-action       | ACTION | watchdog_action | what a watchdog does
balloon               | TYPE | - | memory balloon
virtioconsole         | DEV | - | virtio console
# Character devices and monitors
chardev               | BACKEND,id=ID[,...] | chardev | add a character device ('-chardev help' lists back ends)
serial                | DEV | serial | connect the next serial port: stdio, mon:stdio, file:PATH, null, chardev:ID, none ...
parallel              | DEV | parallel | connect the next parallel port; 'none' for now
monitor               | DEV | monitor | a human monitor there; 'none' for none
mon                   | [chardev=]ID[,mode=readline|control][,pretty=on|off] | mon | a monitor on a character device; control: QMP
qtest                 | DEV | qtest | the qtest protocol there: tests of devices, mostly with -accel qtest
qtest-log             | FILE | qtest_log | what qtest hears and says; none (default: standard error)
debugcon              | DEV | debugcon | connect the debug console, port 0xe9
qmp                   | DEV | qmp | a QMP monitor there: unix:PATH,server=on,wait=off, tcp:.., stdio
qmp-pretty            | DEV | qmp_pretty | the same, indented
echr                  | N | echr | the escape key of multiplexed consoles (default: 1, Ctrl-A)
nographic             | | nographic | no display; first serial port and monitor on this terminal (Ctrl-A x ends)
# Direct boot
kernel                | FILE | kernel | boot this kernel: bzImage, multiboot or PVH ELF, or 'builtin:tour'
append                | TEXT | append | the kernel's command line
initrd                | FILE | initrd | the kernel's initial RAM disk (multiboot: modules, "a args,b")
bios                  | FILE | bios | the firmware image
dtb                   | FILE | - | device tree
option-rom            | FILE | - | load an option ROM
acpitable             | [sig=..][,...][,data=FILE] | - | add an ACPI table
pflash                | FILE | - | parallel flash image
# Time
rtc                   | [base=utc|localtime|DATE][,clock=host|rt|vm][,driftfix=none|slew] | rtc | the real-time clock
localtime             | | localtime | older spelling of -rtc base=localtime
startdate             | DATE | startdate | older spelling of -rtc base=DATE
icount                | [shift=]N|auto[,sleep=on|off][,align=off] | icount | virtual time counts instructions, 2^N ns each
# Debugging
d                     | ITEM[,...] | log | log these things ('-d help' lists them)
D                     | FILE | log_file | log into a file, not to standard error
dfilter               | RANGE[,...] | dfilter | log only code at these addresses: FIRST..LAST, START+SIZE, LAST-SIZE
trace                 | [[enable=]PATTERN][,events=FILE][,file=FILE][,format=text|binary] | trace | trace events; 'help' lists
singlestep            | | no_effect | one instruction at a time (no effect: a warning)
gdb                   | DEV | gdb | a debugger may connect there: tcp::1234, unix:PATH,server=on,wait=off, stdio, chardev:ID
s                     | | gdb_default | the same as -gdb tcp::1234
plugin                | [file=]FILE[,...] | - | load a plugin
enable-sync-profile   | | - | profile locks
# Display, network and disks
display               | TYPE | display | where the display is shown; 'none' for now
vga                   | TYPE | vga | the display adapter; 'none' for now
vnc                   | DISPLAY | - | show the display over VNC
spice                 | OPTIONS | - | show the display over SPICE
sdl                   | | - | show the display in a window
curses                | | - | show the display in this terminal
full-screen           | | - | start in full screen
alt-grab              | | - | Ctrl-Alt-Shift grabs the mouse
ctrl-grab             | | - | right Ctrl grabs the mouse
no-frame              | | - | no window frame
no-quit               | | - | closing the window does not end
g                     | WxH[xDEPTH] | - | initial resolution
rotate                | DEG | - | rotate the display
portrait              | | - | rotate the display
k                     | LANGUAGE | - | keyboard layout
show-cursor           | | - | show the mouse pointer
netdev                | TYPE,id=ID[,...] | netdev | add a network back end ('-netdev help' lists types)
nic                   | TYPE[,...][,model=MODEL][,mac=MAC] | nic | a back end and a network card on it; none: no network
net                   | nic[,...] or TYPE[,...] | net | older spelling: card or back end on hub 0; none: no network
drive                 | [file=]FILE[,if=virtio|none][,id=..][,format=..][,cache=..][,snapshot=..][,...] | drive | add a disk
hda                   | FILE | - | first disk
hdb                   | FILE | - | second disk
hdc                   | FILE | - | third disk
hdd                   | FILE | - | fourth disk
cdrom                 | FILE | - | CD-ROM image
fda                   | FILE | - | first floppy
fdb                   | FILE | - | second floppy
sd                    | FILE | - | SD card image
mtdblock              | FILE | - | flash image
blockdev              | [driver=]DRIVER,node-name=NAME[,...] or JSON | blockdev | a node of a disk: format or protocol
snapshot              | | snapshot | drives keep no changes (snapshot=on for each)
iscsi                 | OPTIONS | - | iSCSI session
fsdev                 | TYPE,id=ID[,...] | - | shared folder back end
virtfs                | TYPE[,...] | - | shared folder
xen-domid             | ID | - | Xen
xen-attach            | | - | Xen
xen-domid-restrict    | | - | Xen
"""


def _read() -> Iterator[Option]:
    section = ""
    for line in _ROWS.strip().splitlines():
        if line.startswith("#"):
            section = line[2:]
            continue
        head, rest = line.split("|", 1)
        arg, do, text = _columns(rest)
        yield Option(tuple(head.split()), arg, text, section, "" if do == "-" else do)


def _columns(rest: str) -> tuple[str, str, str]:
    """Arguments hold '|' themselves, but never with blanks around it."""
    arg, do, text = (" " + rest).split(" | ")
    return arg.strip(), do.strip(), text.strip()


OPTIONS: tuple[Option, ...] = tuple(_read())
BY_NAME: dict[str, Option] = {name: option for option in OPTIONS for name in option.names}
