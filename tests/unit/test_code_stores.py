"""Stores of compiled code into pages that hold code: done without the handler where no instruction of the running unit is hit,
and what they change is what runs next. The interpreter is the judge."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

CODE, FUNCTION, PATCHER = 0x1000, 0x5100, 0x7000  # (0x1000, 0x2000: the snippet's code and data)


class Result:
    """What a run ends with, and how it was come by."""

    def __init__(self, snippet: Any, code: bytes, heat: int, dma: bool, registers: dict[str, int]) -> None:
        self.memory, self.cpu = snippet.make(code, "max")
        if dma:
            self.door()
        for name, value in registers.items():
            self.cpu.set(name, value)
        if heat and not self.cpu.enable_jit(size=1 << 20, heat=heat):
            pytest.skip("no compiled code on this host")
        assert self.cpu.run(1_000_000) == "halted"
        self.state = {name: self.cpu.get(name) for name in (*snippet.REGISTERS, "eip", "eflags")}
        self.state |= {"icount": self.cpu.icount, "ram": self.memory.read(0, snippet.SIZE)}
        self.stats = self.cpu.stats()

    def door(self) -> None:
        """A device whose register stores what it is given at FUNCTION + 1, as a bus master."""
        memory = self.memory

        class Door:
            def read(self, offset: int, size: int) -> int:
                return 0

            def write(self, offset: int, size: int, value: int) -> None:
                memory.write(FUNCTION + 1, value.to_bytes(size, "little"))

        self.devices = Door()
        memory.set_map([(0, 0x10000, "ram", 0, 0), (0x10000, 0x10000, "mmio", self.devices, 0)])


def both(snippet: Any, text: str, dma: bool = False, **registers: int) -> Result:
    """A program run by the interpreter, compiled at once, compiled at its third execution: they end the same. The last one."""
    code = snippet.assemble(text)
    plain = Result(snippet, code, 0, dma, registers)
    for heat in (1, 3):
        compiled = Result(snippet, code, heat, dma, registers)
        assert compiled.state == plain.state
        assert compiled.stats["compiled_retired"] or heat > 1     # (it may have been stored to before that)
    return compiled


def stores_called(result: Result) -> int:
    """Handlers of stores that compiled code called."""
    stores = ("op_mov_m", "op_add_m", "op_inc_m", "op_push")
    return sum(count for name, count in result.cpu.handler_calls().items() if name.startswith(stores))


# The function is in another page than what stores: add eax, imm32; add edx, imm8; xor ebx, imm32; ret (15 bytes)
PROGRAM = """
        mov ecx, 40
    1:  {store}
        call {function:#x}
        {after}
        dec ecx
        jnz 1b
        hlt
        .org {function:#x} - {code:#x}
        add eax, 0x01020304; add edx, 3; xor ebx, 0x55aa55aa; ret
        nop; nop; nop; nop; nop; nop; nop; nop; nop
    """


def program(store: str, after: str = "", function: int = FUNCTION) -> str:
    return PROGRAM.format(store=store, after=after, function=function, code=CODE)


@pytest.mark.parametrize("store", ["mov byte ptr [{0}], {1}", "mov [{0}], cx", "mov [{0}], ecx", "movd mm0, ecx; movq [{0}], mm0",
                                   "movups xmm0, [{0}]; movups [{0}], xmm0"])  # fmt: skip
def test_each_place_around_a_function(snippet: Any, store: str) -> None:
    """A store at each offset from before its first byte to behind its last. Where it touches an instruction it stores what there
    was: anything else might make a jump of it."""
    width = {"mov b": 1, "mov [": 4 if "ecx" in store else 2, "movd ": 8, "movup": 16}[store[:5]]
    for at in range(-18, 20):
        where = f"{FUNCTION + at:#x}"
        if at <= -width or at >= 15:                     # beside it: anything
            result = both(snippet, program(store.format(where, "cl")))
            assert result.stats["code_stores"] > 20
            assert stores_called(result) < 5
            assert result.stats["invalidated"] == 0
        else:
            read = {1: "mov al, [{0}]; mov [{0}], al", 2: "mov ax, [{0}]; mov [{0}], ax", 4: "mov ebp, [{0}]; mov [{0}], ebp",
                    8: "movq mm0, [{0}]; movq [{0}], mm0", 16: store}[width]  # fmt: skip
            result = both(snippet, program(read.format(where)))
            assert stores_called(result) < 5


@pytest.mark.parametrize(("store", "count"), [
    (f"mov [{FUNCTION + 1:#x}], ecx", 1),                                   # an immediate, whole
    (f"mov [{FUNCTION + 3:#x}], cl", 1),                                    # a byte of it
    (f"mov [{FUNCTION + 7:#x}], cl", 1),                                    # the other one's
    (f"mov [{FUNCTION + 11:#x}], cx", 1),
    (f"add dword ptr [{FUNCTION + 1:#x}], ecx", 1),                         # read and written
    (f"xor eax, eax; lock cmpxchg [{FUNCTION + 1:#x}], ecx", 0),
    (f"mov esi, ecx; xchg [{FUNCTION + 1:#x}], esi", 0),
    (f"mov ebp, esp; mov esp, {FUNCTION + 5:#x}; push ecx; mov esp, ebp; mov ebp, 0", 1),
    (f"mov edi, {FUNCTION:#x}; mov [edi + 1], ecx; mov [edi + 7], cl; mov [edi + 10], ecx", 0),      # a group
    (f"mov edi, {FUNCTION + 1:#x}; mov eax, ecx; stosd", 0),
    (f"setz [{FUNCTION + 1:#x}]; inc dword ptr [{FUNCTION + 10:#x}]; not byte ptr [{FUNCTION + 7:#x}]", 0),
    (f"movd xmm0, ecx; movd [{FUNCTION + 1:#x}], xmm0", 0),
    (f"mov [{FUNCTION + 0x40:#x}], ecx; mov [{FUNCTION - 4:#x}], ecx", 0),           # a group around it
])
def test_what_was_stored_is_what_runs(snippet: Any, store: str, count: int) -> None:
    result = both(snippet, program(store))
    assert not count or stores_called(result) < 5
    assert result.stats["code_stores"] >= 20 * count


@pytest.mark.parametrize("at", range(-5, 3))
def test_into_a_page_of_code_from_the_one_before(snippet: Any, at: int) -> None:
    """A doubleword across the edge: its last bytes are the function's first; it is the same instruction with another operand."""
    start = 0x5000
    store = f"mov esi, [{start + at:#x}]; add esi, {0x100 if at >= 0 else 0}; mov [{start + at:#x}], esi"
    both(snippet, program(store if at else f"mov [{start + 1:#x}], ecx", function=start))


@pytest.mark.parametrize("distance", range(12))
def test_the_running_unit(snippet: Any, distance: int) -> None:
    """A store into what comes next, so many instructions later, in the block and in those behind it; or came before."""
    pad = "; ".join(["inc esi"] * distance)
    both(snippet, f"mov ecx, 60; 1: mov [2f + 1], ecx; {pad or 'nop'}; 2: mov eax, 0; add ebx, eax; dec ecx; jnz 1b")
    both(snippet, f"mov ecx, 60; 1: mov [2f + 1], ecx; {pad or 'nop'}; test cl, 1; jz 3f; inc edi; 3: jmp 4f; 4: 2: mov eax, 0;"
                  "add ebx, eax; dec ecx; jnz 1b")
    both(snippet, f"mov ecx, 60; 1: 2: mov eax, 0; add ebx, eax; {pad or 'nop'}; mov [2b + 1], ecx; dec ecx; jnz 1b")
    both(snippet, "mov ecx, 60; jmp 1f; 5: 2: mov eax, 0; add ebx, eax; ret;"
                  f"1: call 5b; {pad or 'nop'}; mov [2b + 1], ecx; call 5b; dec ecx; jnz 1b")


def test_an_instruction_that_patches_its_loop_begins_a_block(snippet: Any) -> None:
    """It is run alone once; then it ends the block before it, and the loop goes on in compiled code."""
    code = snippet.assemble("mov ecx, 500; 1: add eax, 1; mov [1b + 2], cl; add ebx, eax; inc edx; dec ecx; jnz 1b")
    plain, result = (Result(snippet, code, heat, False, {}) for heat in (0, 12))
    assert result.state == plain.state
    assert result.stats["single"] < 10
    assert result.stats["compiled_retired"] > 1800


@pytest.mark.parametrize("size", ["b", "w", "d"])
def test_rep_stos_over_code(snippet: Any, size: str) -> None:
    """The function becomes another one each time: a row of INC EAX, or of INC EDX, and a RET."""
    each = {"b": 1, "w": 2, "d": 4}[size]
    store = (f"mov edi, {FUNCTION:#x}; mov ebp, ecx; mov eax, 0x40404040; test cl, 1; jz 3f; mov eax, 0x42424242;"
             f"3: mov ecx, {12 // each}; rep stos{size}; mov byte ptr [edi], 0xc3; mov ecx, ebp; xor eax, eax")  # fmt: skip
    assert both(snippet, program(store, after="add esi, eax; imul esi, esi, 3; add esi, edx"), edx=0).state["edx"] == 20 * 12


def test_a_device_stores_into_code(snippet: Any) -> None:
    both(snippet, program("mov [0x10000], ecx; add ebp, eax"), dma=True)
    both(snippet, f"mov ecx, 60; jmp {FUNCTION - 6:#x}; .org {FUNCTION - 6 - CODE:#x};"
                  "1: mov [0x10000], ecx; .byte 5; .long 0; add ebx, eax; dec ecx; jnz 1b", dma=True)


def test_data_between_the_blocks_of_a_unit(snippet: Any) -> None:
    """A counter behind a jump that goes around it: nothing is dropped for it."""
    result = both(snippet, "mov ecx, 300; 1: inc dword ptr [2f]; add eax, [2f]; jmp 3f; 2: .long 0; 3: dec ecx; jnz 1b")
    assert result.stats["invalidated"] == 0
    assert result.stats["code_stores"]                  # (the loop looks once for all its rounds)
    assert stores_called(result) == 0
    assert result.stats["compiled_retired"] > 1400


def test_a_stack_beside_code(snippet: Any) -> None:
    """Pushes and calls in a page that holds code, up to its last instruction."""
    result = both(snippet, program("push ecx; push edx; push dword ptr [esp]; pop esi; add esi, [esp + 4]; pop edi; pop ebp"),
                  esp=FUNCTION)  # fmt: skip
    assert result.stats["code_stores"] > 30             # (one look for several of them)
    assert stores_called(result) < 5
    assert result.stats["invalidated"] == 0


def compiled_runs(snippet: Any, calls: int, rounds: int, work: int = 0) -> dict[str, int]:
    """A function of 20 instructions beside another is patched, and called so many times, in so many rounds, compiled at the 100th
    execution as a rule."""
    text = f"""
        mov esi, {rounds}
    1:  mov dword ptr [{FUNCTION + 1:#x}], esi
        mov ebp, {calls}
    2:  call {FUNCTION:#x}; call {FUNCTION + 0x200:#x}
        dec ebp; jnz 2b
        mov edi, {work}
    3:  dec edi; jns 3b
        dec esi; jnz 1b
        hlt
        .org {FUNCTION - CODE:#x}
        add eax, 0; {"inc edx;" * 18} ret
        .org {FUNCTION + 0x200 - CODE:#x}
        inc ebx; ret
        """
    code = snippet.assemble(text)
    plain, compiled = Result(snippet, code, 0, False, {}), Result(snippet, code, 100, False, {})
    assert plain.state == compiled.state
    return compiled.stats


def test_code_written_beside_code_is_compiled_sooner(snippet: Any) -> None:
    """At its second execution. Before that a store to it has to come where there is code already."""
    stats = compiled_runs(snippet, 50, 8, work=4000)
    assert stats["compiled"] >= 7
    assert stats["compiled_retired"] > 7 * 45 * 20


def test_code_that_is_patched_all_the_time_is_not(snippet: Any) -> None:
    """After a few units that were not worth it."""
    stats = compiled_runs(snippet, 4, 60)
    assert 0 < stats["compiled"] < 12


@pytest.mark.parametrize("seed", range(12))
def test_random_stores_into_random_functions(snippet: Any, seed: int) -> None:
    """Functions one behind the other in a page, of immediates that stores change, called in random order."""
    rng = Random(seed)
    starts: list[int] = []
    holes: list[int] = []
    body: list[str] = []
    at = FUNCTION
    for _ in range(8):
        starts.append(at)
        n = rng.randrange(1, 6)
        adds = [f".byte 0x81, {0xC0 + rng.choice((0, 2, 3)):#x}; .long {rng.randrange(1 << 32):#x}" for _ in range(n)]
        body.append("; ".join((*adds, "ret")))
        holes += [at + 2 + 6 * k + rng.randrange(4) for k in range(n)]
        at += 6 * n + 1
    lines = []
    for _ in range(14):
        kind = rng.randrange(4)
        hole = rng.choice(holes)
        if kind == 0:
            lines.append(f"mov byte ptr [{hole:#x}], cl")
        elif kind == 1:
            lines.append(f"mov [{rng.choice(starts) + 2:#x}], ecx; mov [{at + 40 + rng.randrange(64):#x}], ecx")
        elif kind == 2:
            lines.append(f"xor byte ptr [{hole:#x}], dl")
        lines.append(f"call {rng.choice(starts):#x}")
    both(snippet, f"mov ecx, 25; 1: {'; '.join(lines)}; dec ecx; jnz 1b; hlt; .org {FUNCTION - CODE:#x}; {'; '.join(body)}")


@pytest.mark.parametrize("function", [FUNCTION, CODE + 0x200])
def test_jumps_to_code_that_was_stored_to_lead_to_what_is_there_now(snippet: Any, function: int) -> None:
    """A function is patched twice in two thousand calls, in another page and in the caller's own."""
    text = f"""
        mov ecx, 2000
    1:  call {function:#x}
        cmp ecx, 1900; je 2f; cmp ecx, 1000; je 2f
        dec ecx; jnz 1b
        hlt
    2:  mov [{function + 1:#x}], ecx; dec ecx; jmp 1b
        .org {function - CODE:#x}
        .byte 5; .long 5; .byte 0x81, 0xc2; .long 7; ret
        """
    code = snippet.assemble(text)
    plain, compiled = (Result(snippet, code, heat, False, {}) for heat in (0, 12))
    assert compiled.state == plain.state
    assert compiled.stats["left_dropped"] < 50
    assert compiled.stats["compiled_retired"] > 0.9 * compiled.state["icount"]


@pytest.mark.parametrize(("bad", "good"), [("ff ff", "ff f7"), ("66 0f c7 c8", "66 0f c7 f0"), ("66 c4 c3", "66 c4 03")],
                         ids=["push", "rdrand", "les"])
def test_what_was_no_instruction_becomes_one(snippet: Any, bad: str, good: str) -> None:
    """By a change of the byte that said so: the ModRM byte behind an opcode, the one that tells VEX from LES."""
    end = CODE + len(bytes.fromhex(good))
    memory, cpu = snippet.make(bytes.fromhex(bad) + b"\xf4", "max")
    for code in (bad, good) * 3:
        memory.write(end - 1, bytes.fromhex(code)[-1:])
        cpu.set("eip", CODE)
        cpu.halted = False
        assert cpu.run(10) == "halted"
        assert cpu.get("eip") == end + 1 if code == good else cpu.get("eip") < CODE
