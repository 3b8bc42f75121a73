"""What all boards share: options with types, and a short way to put chips in place."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from pcemu.qom import Bus, Device
from pcemu.qom.errors import PcemuError, suggestion
from pcemu.qom.property import Property, PropertyDecl

if TYPE_CHECKING:
    from .machine import Machine

_D = TypeVar("_D", bound=Device)

# Options of QEMU's machines that this one refuses by name instead of not knowing them.
LATER = frozenset(
    ("memory-encryption", "confidential-guest-support", "dtb", "dumpdtb", "dt-compatible",
     "sgx-epc", "sgx-epc.0.memdev", "cxl", "hmat", "igd-passthru", "kvm-shadow-mem", "loadparm")
)  # fmt: skip


class Board:
    """Base of the boards. Class attributes declared with `Property` are what -machine T,opt=value takes."""

    desc: ClassVar[str] = ""
    default_cpu: ClassVar[str] = "max"
    options: ClassVar[dict[str, PropertyDecl]] = {}

    dump_guest_core = Property(bool, default=True, help="guest RAM is part of a core dump of pcemu")
    mem_merge = Property(bool, default=True, help="let the host merge equal pages", so=False,
                         inert="hosts do not merge shared memory, which guest RAM is")  # fmt: skip
    suppress_vmdesc = Property(bool, help="leave descriptions out of a saved state", inert="there are no saved states")
    graphics = Property(bool, default=True, help="firmware may use the display; off: the serial port")
    memory_backend = Property(str, help="id of the -object that guest RAM comes from")
    usb = Property(bool, help="add a USB controller; off for now")

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        found: dict[str, PropertyDecl] = {}
        for klass in reversed(cls.__mro__):
            found.update({p.name: p for p in vars(klass).values() if isinstance(p, PropertyDecl)})
        cls.options = dict(sorted(found.items()))

    def __init__(self, machine: Machine, options: dict[str, Any]) -> None:
        self.machine = machine
        self.config = machine.config
        self.name = machine.config.machine
        for decl in self.options.values():
            setattr(self, decl.attr, decl.default)
        for name, value in options.items():
            decl = self.option(name)
            setattr(self, decl.attr, decl.convert(self.name, value))
            machine.complain(decl.complaint("-machine ", value).replace("-machine .", "-machine "))

    @classmethod
    def option(cls, name: str) -> PropertyDecl:
        """The declaration of an option, by either spelling ('-' or '_')."""
        found = cls.options.get(name) or cls.options.get(name.replace("_", "-"))
        if found is None:
            if name in LATER:
                raise PcemuError(f"-machine {name}: not implemented yet")
            raise PcemuError(f"-machine: Property '{name}' not found{suggestion(name, cls.options)}")
        return found

    def build(self) -> None:
        """Put the chips in place and wire them."""
        raise NotImplementedError

    def chip(self, cls: type[_D], bus: Bus | None = None, id: str | None = None, **props: Any) -> _D:
        """Make a device and realize it."""
        device = cls(self.machine, bus, id, **props)
        device.realize_now()
        return device
