"""The events a QMP monitor may be sent. Machine.emit_event() and devices name them; a test looks that none is missing."""

from __future__ import annotations

from .table import declare_types, event

declare_types("""
enum    ShutdownCause   none host-error host-qmp-quit host-qmp-system-reset host-signal host-ui guest-shutdown guest-reset \\
                        guest-panic subsystem-reset snapshot-load
enum    IoOperationType  read write
enum    BlockErrorAction ignore report stop
enum    GuestPanicAction pause poweroff run
enum    NetAddressType   inet unix
struct  NetInetAddress   host: str, port: str
struct  NetUnixAddress   path: str
union   NetAddress       [type] type: NetAddressType | inet: NetInetAddress, unix: NetUnixAddress
enum    WatchdogAction  reset shutdown poweroff pause debug none inject-nmi
""")

_WHY = "guest: bool, reason: ShutdownCause"

event("SHUTDOWN", _WHY, help="the machine is off: the guest powered it off, or the process ends")
event("POWERDOWN", help="the power button was pressed (system_powerdown)")
event("RESET", _WHY, help="the machine was reset")
event("STOP", help="the machine stands still")
event("RESUME", help="the machine runs")
event("RTC_CHANGE", "offset: int, qom-path: str", interval=1.0,
      help="the guest set its clock: seconds ahead of what -rtc says")
event("WATCHDOG", "action: WatchdogAction", help="a watchdog ran out; action says what follows")
event("GUEST_PANICKED", "action: GuestPanicAction", help="the guest's kernel has crashed; action says what follows")
event("GUEST_CRASHLOADED", "action: GuestPanicAction", help="the guest has crashed, and its crash kernel takes over")
event("DEVICE_DELETED", "device?: str, path: str", help="a device has left the machine")
event("BLOCK_IO_ERROR", "device: str, node-name?: str, operation: IoOperationType, action: BlockErrorAction, nospace?: bool, "
      "reason: str", help="a disk request failed; action says what became of it")
event("SUSPEND_DISK", help="the guest suspends to disk; the power is off next")
event("VSERPORT_CHANGE", "id: str, open: bool", interval=1.0, help="a program in the guest opened or closed a virtio-serial port")
event("NIC_RX_FILTER_CHANGED", "name?: str, path: str",
      help="the driver changed which frames it wants; said once until query-rx-filter was asked")
event("NETDEV_STREAM_CONNECTED", "netdev-id: str, addr: NetAddress", help="a -netdev stream has a connection")
event("NETDEV_STREAM_DISCONNECTED", "netdev-id: str", help="... and has it no more")
event("DUMP_COMPLETED", "result: DumpQueryResult, error?: str", help="a detached memory dump has ended")
