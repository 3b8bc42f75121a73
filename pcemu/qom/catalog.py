"""Device type names and the modules they live in, so that nothing is imported before it is used."""

from __future__ import annotations

MODULES: dict[str, str] = {
    # interrupt controllers
    "isa-i8259": "pcemu.hw.intc.i8259",
    "apic": "pcemu.hw.intc.apic",
    "ioapic": "pcemu.hw.intc.ioapic",
    # timers and clocks
    "isa-pit": "pcemu.hw.timer.i8254",
    "mc146818rtc": "pcemu.hw.timer.mc146818rtc",
    "hpet": "pcemu.hw.timer.hpet",
    # DMA
    "i8257": "pcemu.hw.dma.i8257",
    # input
    "i8042": "pcemu.hw.input.pckbd",
    "ps2-kbd": "pcemu.hw.input.ps2",
    "ps2-mouse": "pcemu.hw.input.ps2",
    # PCI and its bridges
    "i440FX-pcihost": "pcemu.hw.pci.host",
    "i440FX": "pcemu.hw.pci.i440fx",
    "PIIX3": "pcemu.hw.isa.piix3",
    "pci-bridge": "pcemu.hw.pci.bridge",
    "PIIX4_PM": "pcemu.hw.acpi.piix4_pm",
    "smbus-eeprom": "pcemu.hw.acpi.smbus_eeprom",
    # firmware interface
    "fw_cfg_io": "pcemu.hw.nvram.fw_cfg",
    "fw_cfg": "pcemu.hw.nvram.fw_cfg",
    # serial and debug ports
    "isa-serial": "pcemu.hw.char.serial_isa",
    "isa-debugcon": "pcemu.hw.char.debugcon",
    # virtio
    **{f"virtio-{name}-pci{kind}": f"pcemu.hw.virtio.{name}"
       for name in ("balloon", "blk", "net", "rng", "serial") for kind in ("", "-transitional", "-non-transitional")},
    **{f"virtio-{name}": f"pcemu.hw.virtio.{name}" for name in ("balloon", "blk", "net", "rng", "serial")},
    "virtserialport": "pcemu.hw.virtio.serial",
    "virtconsole": "pcemu.hw.virtio.serial",
    # small board logic
    "port92": "pcemu.hw.misc.port92",
    "isa-pcspk": "pcemu.hw.misc.pcspk",
    "ioport80": "pcemu.hw.misc.port80",
    "ioportF0": "pcemu.hw.misc.ioportf0",
    "isa-debug-exit": "pcemu.hw.misc.debugexit",
    "pc-testdev": "pcemu.hw.misc.pc_testdev",
    "pvpanic": "pcemu.hw.misc.pvpanic",
    # watchdogs
    "ib700": "pcemu.hw.watchdog.ib700",
}

# The types of -object.
OBJECTS: dict[str, str] = {
    "filter-dump": "pcemu.net.dump",
    "filter-impair": "pcemu.net.impair",
    "memory-backend-file": "pcemu.backends.memory",
    "memory-backend-memfd": "pcemu.backends.memory",
    "memory-backend-ram": "pcemu.backends.memory",
    "rng-builtin": "pcemu.backends.rng",
    "rng-random": "pcemu.backends.rng",
    "secret": "pcemu.backends.secret",
}
_OBJECTS_PLANNED = """
    authz-list authz-list-file authz-simple can-bus can-host-socketcan colo-compare cryptodev-backend
    cryptodev-backend-builtin cryptodev-vhost-user dbus-vmstate filter-buffer filter-mirror filter-redirector
    filter-replay filter-rewriter input-barrier input-linux iothread main-loop pr-manager-helper qtest rng-egd
    secret_keyring sev-guest thread-context throttle-group tls-cipher-suites tls-creds-anon tls-creds-psk
    tls-creds-x509 x-remote-object
"""
OBJECTS_PLANNED: frozenset[str] = frozenset(_OBJECTS_PLANNED.split())

# KVM's own chips, which command lines set properties of whether KVM is used or not.
KVM_ONLY: frozenset[str] = frozenset(("kvm-pit", "kvm-i8259", "kvm-apic", "kvm-ioapic", "kvmclock", "kvmvapic"))

# Types that users of QEMU know and that later work brings: refused by name, not as unknown.
_PLANNED_NAMES = """
    AC97 ES1370 adlib cs4231a gus hda-duplex hda-micro hda-output ich9-intel-hda intel-hda sb16 VGA cirrus-vga
    isa-cirrus-vga isa-vga qxl qxl-vga ramfb secondary-vga vmware-svga bochs-display ahci ich9-ahci ide-cd
    ide-drive ide-hd isa-fdc isa-ide floppy lsi lsi53c810 lsi53c895a megasas nvme nvme-ns piix3-ide piix4-ide
    pvscsi am53c974 dc390 sd-card sdhci-pci scsi-block scsi-cd scsi-disk scsi-generic scsi-hd e1000
    e1000-82544gc e1000-82545em e1000e i82550 i82551 i82557a i82557b i82557c i82558b i82559a i82559c i82562
    i82801 ne2k_isa ne2k_pci pcnet rtl8139 tulip usb-net vmxnet3 ich9-usb-ehci1
    ich9-usb-uhci1 ich9-usb-uhci2 ich9-usb-uhci3 nec-usb-xhci pci-ohci piix3-usb-uhci piix4-usb-uhci qemu-xhci
    usb-audio usb-bot usb-braille usb-ccid usb-ehci usb-host usb-hub usb-kbd usb-mouse usb-mtp usb-redir
    usb-serial usb-storage usb-tablet usb-uas usb-wacom-tablet virtio-9p-pci
    virtio-gpu-pci virtio-input-host-pci virtio-keyboard-pci virtio-mouse-pci
    virtio-scsi virtio-scsi-pci virtio-tablet-pci
    virtio-vga vhost-scsi-pci vhost-vsock-pci i6300esb isa-applesmc
    isa-ipmi-bt isa-ipmi-kcs isa-parallel ivshmem-doorbell ivshmem-plain pc-dimm nvdimm pci-serial
    pci-serial-2x pci-serial-4x pci-testdev pcie-root-port pvpanic-pci pxb qemu-vmport
    tpm-crb tpm-tis vmcoreinfo vmgenid vmmouse vmport edu vfio-pci i2c-ddc intel-iommu amd-iommu
"""
PLANNED: frozenset[str] = frozenset(_PLANNED_NAMES.split())
