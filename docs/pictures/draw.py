"""Draws the pictures of these pages: python docs/pictures/draw.py writes house.svg, ways.svg and board.svg beside it."""

from __future__ import annotations

from html import escape
from pathlib import Path

HERE = Path(__file__).resolve().parent
FONT = "font-family='DejaVu Sans, Verdana, sans-serif'"
INK, PALE = "#1f2933", "#52606d"
PYTHON, CORE, HOST, USER, PLAIN = "#e3f0fb", "#fdebd3", "#e8e8ee", "#e5f4e3", "#ffffff"


class Picture:
    """Boxes, arrows and text, in the order they are added."""

    def __init__(self, width: int, height: int, title: str) -> None:
        self.width, self.height, self.title = width, height, title
        self.parts: list[str] = []

    def box(self, x: int, y: int, w: int, h: int, title: str, *lines: str, fill: str = PLAIN, dashed: bool = False) -> None:
        dash = " stroke-dasharray='6 4'" if dashed else ""
        self.parts.append(f"<rect x='{x}' y='{y}' width='{w}' height='{h}' rx='6' fill='{fill}' stroke='{INK}'{dash}/>")
        if title:
            self.text(x + 10, y + 19, title, bold=True)
        for i, line in enumerate(lines):
            self.text(x + 10, y + 37 + 15 * i, line, size=11, color=PALE)

    def text(self, x: int, y: int, text: str, *, size: int = 13, bold: bool = False, color: str = INK,
             anchor: str = "start") -> None:
        weight = " font-weight='bold'" if bold else ""
        self.parts.append(f"<text x='{x}' y='{y}' font-size='{size}'{weight} fill='{color}' text-anchor='{anchor}' {FONT}>"
                          f"{escape(text)}</text>")

    def arrow(self, *points: tuple[int, int], label: str = "", at: tuple[int, int] | None = None, anchor: str = "start",
              both: bool = False, color: str = INK) -> None:
        path = " ".join(f"{x},{y}" for x, y in points)
        start = f" marker-start='url(#back-{color[1:]})'" if both else ""
        self.parts.append(f"<polyline points='{path}' fill='none' stroke='{color}' stroke-width='1.6' "
                          f"marker-end='url(#tip-{color[1:]})'{start}/>")
        if label:
            x, y = at or ((points[0][0] + points[-1][0]) // 2 + 6, (points[0][1] + points[-1][1]) // 2)
            for i, line in enumerate(label.split("\n")):
                self.text(x, y + 13 * i, line, size=11, color=color if color != INK else PALE, anchor=anchor)

    def svg(self) -> str:
        colors = sorted({c for c in (INK, OUT, IN) if any(f"tip-{c[1:]}" in part for part in self.parts)})
        tips = "".join(
            f"<marker id='tip-{c[1:]}' viewBox='0 0 8 8' refX='7' refY='4' markerWidth='7' markerHeight='7' orient='auto'>"
            f"<path d='M0,0 L8,4 L0,8 z' fill='{c}'/></marker>"
            f"<marker id='back-{c[1:]}' viewBox='0 0 8 8' refX='1' refY='4' markerWidth='7' markerHeight='7' orient='auto'>"
            f"<path d='M8,0 L0,4 L8,8 z' fill='{c}'/></marker>" for c in colors)
        return (f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {self.width} {self.height}' width='{self.width}' "
                f"height='{self.height}' role='img' aria-label='{escape(self.title)}'>\n<defs>{tips}</defs>\n"
                f"<rect width='{self.width}' height='{self.height}' fill='#ffffff'/>\n" + "\n".join(self.parts) + "\n</svg>\n")


OUT, IN = "#b44d00", "#0b5fa5"      # the way of a byte out of the guest, and of one in


def house() -> Picture:
    """The rooms, who makes whom and who calls whom."""
    p = Picture(960, 700, "The rooms of pcemu and what passes between them")
    p.box(20, 20, 250, 78, "cli/", "the option table: parser, -help,", "reference; makes a MachineConfig", fill=USER)
    p.box(690, 20, 250, 78, "monitor/", "one table of commands;", "the human monitor is a face of it", fill=USER)
    p.box(20, 150, 590, 92, "machine/", "Machine: asyncio loop, life, requests, exit reason",
          "clock: timers on virtual time; cpu: from a model to a processor",
          "boards, a page of wiring each: pc_i440fx, isapc, none", fill=PYTHON)
    p.box(690, 150, 250, 92, "loader/", "kernels, firmware, initrd;", "ACPI, SMBIOS and E820 tables",
          "from the machine as built", fill=PYTHON)
    p.box(170, 300, 440, 126, "hw/", "one chip a file: acpi/ char/ dma/ input/ intc/ isa/ misc/ nvram/",
          "pci/ timer/: classes that declare properties, state, ports, wires", fill=PYTHON)
    p.box(185, 378, 410, 36, "", fill=PLAIN)
    p.text(195, 401, "qom/", bold=True)
    p.text(237, 401, "Device Property State Register Region IrqOut Timer Bus", size=11, color=PALE)
    p.box(690, 300, 250, 126, "chardev/", "byte streams to the host: stdio, file,", "pty, socket, pipe, ringbuf; mux;",
          "back pressure both ways", fill=PYTHON)
    p.box(20, 500, 920, 128, "_core/   compiled (Cython), runs without the GIL", fill=CORE)
    inner = (("isa/ -> decode", "the table; guest", "bytes to ops"),
             ("translate blocks", "cache by physical", "address and mode"),
             ("x_alu x_flow ...", "handlers: the", "semantics"), ("mmu tlb physmem", "TLB, walks, ports,", "physical map"),
             ("interrupts", "delivery, tasks,", "segments"), ("runloop engine", "budget, turns;", "Clock, Cpu"))
    for i, (title, *lines) in enumerate(inner):
        p.box(35 + 151 * i, 532, 138, 66, title, *lines)
    p.text(35, 618, "state.pxd: struct Cpu, Op, Block, Mach -- what all of these share", size=11, color=PALE)
    p.box(20, 650, 440, 34, "guest RAM: one memfd mapping", fill=HOST)
    p.box(660, 650, 280, 34, "the host: terminal, files, sockets", fill=HOST)
    p.arrow((145, 98), (145, 150), label="MachineConfig")
    p.arrow((815, 98), (815, 124), (560, 124), (560, 150), label="stop, cont, quit, info ...", at=(690, 118), anchor="middle")
    p.arrow((390, 242), (390, 300), label="makes, wires, resets")
    p.arrow((690, 190), (610, 190), label="on_reset", at=(650, 183), anchor="middle")
    p.arrow((80, 242), (80, 500), label="run(),\nclock.deadline", at=(88, 330))
    p.arrow((250, 500), (250, 426), label="read, write of a port\nor of device memory", at=(257, 458))
    p.arrow((470, 426), (470, 500), label="set_intr, set_map,\nDMA, a new deadline", at=(477, 458))
    p.arrow((690, 363), (610, 363), label="bytes", at=(650, 356), anchor="middle", both=True)
    p.arrow((915, 426), (915, 470), (950, 470), (950, 667), (941, 667), both=True)
    p.arrow((240, 628), (240, 650), both=True)
    return p


def ways() -> Picture:
    """One byte out, one interrupt back."""
    p = Picture(960, 610, "The way of an OUT instruction to the terminal, and of a key back to an interrupt handler")
    p.text(20, 24, "out dx, al", bold=True, color=OUT)
    p.text(500, 24, "a key, and the interrupt it makes", bold=True, color=IN)
    left = (
        ("guest byte EE", "at the block's end: OUT has `end time` in the table", CORE),
        ("decode()", "row 'EE | OUT DX,AL' -> Op, fn = op_out_dr_8", CORE),
        ("op_out_dr_8 -> port_write", "IOPL or TSS bitmap", CORE),
        ("port_out", "index[0x3f8] -> the UART's window, offset 0", CORE),
        ("latch_write", "kept, until any Python runs; else IoSpace.write()", CORE),
        ("Serial._written", "with all that were kept; to the character device", PYTHON),
        ("Chardev.write", "queued; flush() once a turn of the loop", PYTHON),
        ("os.write(1, b'A')", "", HOST),
    )
    right = (
        ("iret", "restores CS:EIP, flags, stack: far.iret, then resume()", CORE),
        ("deliver_irq", "gate, stack frame, IF cleared; pc = the handler's", CORE),
        ("Cpu.run: intack()", "LocalApic -> I8259: in service, vector 0x24", CORE),
        ("run_slice returns RUN_INTACK", "PEND_INTR, IF set, no shadow; at a block's end", CORE),
        ("cpu.set_intr(1)", "a bit in Cpu.pending, and leave_req", CORE),
        ("I8259.on_irq -> LocalApic.on_lint", "the line goes to the I/O APIC as well (masked there)", PYTHON),
        ("Serial._receive -> IsaBus line 4", "RBR, LSR.DR, IIR; irq.set(1)", PYTHON),
        ("FdChardev._readable", "as much as the UART has room for", PYTHON),
    )
    for i, (title, line, fill) in enumerate(left):
        p.box(20, 40 + 70 * i, 420, 50, title, *([line] if line else []), fill=fill)
        if i:
            p.arrow((230, 20 + 70 * i), (230, 40 + 70 * i), color=OUT)
    for i, (title, line, fill) in enumerate(right):
        p.box(500, 40 + 70 * i, 440, 50, title, line, fill=fill)
        if i:
            p.arrow((720, 40 + 70 * i), (720, 20 + 70 * i), color=IN)
    p.arrow((440, 555), (500, 555), both=True)
    p.text(470, 547, "loop", size=11, color=PALE, anchor="middle")
    return p


def board() -> Picture:
    """The PC board: buses, and who interrupts whom."""
    p = Picture(960, 560, "The board pc: buses and interrupt wires")
    p.box(20, 20, 200, 60, "CPU", "INTR, NMI, INIT, A20", fill=CORE)
    p.box(300, 20, 220, 60, "local APIC", "fee00000; LVT, timer, IRR/ISR", fill=PYTHON)
    p.box(640, 20, 300, 60, "I/O APIC", "fec00000; 24 pins", fill=PYTHON)
    p.arrow((300, 50), (220, 50), label="INTR", at=(260, 43), anchor="middle")
    p.arrow((640, 36), (520, 36), label="messages", at=(580, 30), anchor="middle")
    p.box(20, 140, 500, 60, "i440FX  00:00.0", "host bridge: cf8/cfc, PAM, PCI hole; root of PCI bus pci.0", fill=PYTHON)
    p.arrow((120, 80), (120, 140), both=True)
    p.text(128, 114, "memory and I/O accesses", size=11, color=PALE)
    p.box(20, 250, 240, 60, "PIIX3  00:01.0", "ISA bridge; PIRQA-D -> IRQ (60h-63h)", fill=PYTHON)
    p.box(280, 250, 240, 60, "PIIX4 PM  00:01.3", "PM timer, PM1, SMBus; SCI = IRQ 9", fill=PYTHON)
    p.arrow((140, 200), (140, 250), both=True)
    p.arrow((400, 200), (400, 250), both=True)
    p.text(270, 230, "PCI", bold=True, anchor="middle")
    p.box(20, 370, 920, 24, "", fill=HOST)
    p.text(32, 387, "ISA bus isa.0: ports, and sixteen shared interrupt lines", size=12, bold=True)
    p.arrow((140, 310), (140, 370), both=True)
    p.arrow((400, 310), (400, 370))
    p.text(408, 344, "IRQ 9", size=11, color=PALE)
    chips = (("8254", "40h"), ("RTC", "70h"), ("16550A", "3f8h ..."), ("8042", "60h, 64h"), ("8237 x 2", "00h, c0h"),
             ("61h 80h 92h", "speaker, POST"), ("-device ...", "yours"))
    for i, (name, where) in enumerate(chips):
        x = 20 + 132 * i
        p.box(x, 440, 120, 52, name, where, fill=PYTHON, dashed=name.startswith("-"))
        p.arrow((x + 60, 440), (x + 60, 394), both=True)
    p.box(640, 140, 300, 60, "8259A pair", "20h, a0h; ELCR 4d0h, 4d1h", fill=PYTHON)
    p.arrow((640, 170), (560, 170), (560, 65), (520, 65), label="INT -> LINT0", at=(566, 112))
    p.arrow((660, 370), (660, 200), label="each line goes to an 8259 input ...", at=(668, 300))
    p.arrow((920, 370), (920, 240), (952, 240), (952, 50), (940, 50))
    p.text(914, 344, "... and to an I/O APIC pin (IRQ 0 to pin 2)", size=11, color=PALE, anchor="end")
    p.box(20, 510, 920, 36, "", dashed=True)
    p.text(32, 533, "HPET, fed00000: sits between the 8254, the RTC and their lines; with its legacy bit set it drives them.",
           size=12)
    return p


def main() -> None:
    for draw in (house, ways, board):
        (HERE / f"{draw.__name__}.svg").write_text(draw().svg())


if __name__ == "__main__":
    main()
