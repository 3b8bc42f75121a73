"""One TCP connection of the guest (RFC 9293), spliced to a socket of the host.

The guest's end is TCP by the book: windows and their scaling (RFC 7323), retransmission (RFC 6298, RFC 6582), selective
acknowledgements both ways (RFC 2018), half-close, TIME_WAIT. There is no congestion control, because there is no network
between the guest and us, only its window. The host's end is a socket, which has TCP of its own behind it:

- Data of the guest goes into the socket at once, while the frame is still in the guest's memory; what the socket does
  not take is kept and shrinks the window.
- Data of the host is read when the guest's window has room, and kept until it is acknowledged. What the window has no
  room for stays in the host's kernel.

Sequence numbers are kept as integers that do not wrap; `& MASK` on the way out, `_near()` on the way in.
"""

from __future__ import annotations

import contextlib
import select
import socket
from bisect import insort
from collections import deque
from struct import pack
from typing import TYPE_CHECKING, Any

from .. import GSO_TCPV4, GSO_TCPV6, NEEDS_CSUM, Offload
from ..offload import ones_sum
from . import wire
from .wire import ACK, FIN, PSH, RST, SYN, TCP4_FRAME, TCP6_FRAME

if TYPE_CHECKING:
    from .tcp import Key, Tcp

MASK, HALF = 0xFFFFFFFF, 0x80000000
MS = 1_000_000  # ns
FIRST_RTO, LEAST_RTO, MOST_RTO = 1000 * MS, 200 * MS, 60_000 * MS
SYN_TRIES, DATA_TRIES = 6, 12
TIME_WAIT_NS = 2000 * MS  # nothing stays longer than that on a wire this short
WINDOW_SHIFT = 7
QUICK_ACKS = 20  # at the beginning, while the guest finds out how fast it may be (and as long as it says little)
LAZY_BYTES = 192 << 10  # later an acknowledgement waits for this much, or for LAZY_NS: each is work for the guest
MOST_EARLY = 512  # pieces that arrived out of order
HUNGUP = select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR

CONNECTING, SYN_SENT, SYN_RECEIVED, OPEN, TIME_WAIT, CLOSED = range(6)


class Sent:
    """A piece of data (or SYN, or FIN) that is not acknowledged yet."""

    __slots__ = ("again", "data", "end", "flags", "have", "start")

    def __init__(self, start: int, end: int, data: bytes, flags: int) -> None:
        self.start = start
        self.end = end
        self.data = data
        self.flags = flags
        self.have = False  # the guest said that it has it (SACK)
        self.again = False  # sent again since a loss was noticed


class Connection:
    """`end` is a non-blocking stream socket, or something with its recv, send, shutdown, close and fileno."""

    __slots__ = (
        "_gso", "_ip_sum", "_plain", "_sum", "_timer", "_timer_at", "ack_due", "acked_to", "duplicates", "early",
        "early_bytes", "end", "eof", "fin_at", "fin_sent", "from_host", "guest_fin", "hungup", "kept", "key", "lazy",
        "max_window", "mss", "net", "queued", "quick", "rcv_edge", "rcv_nxt", "rcv_scale", "readable", "recover",
        "rto", "rttvar", "sack", "sent", "shut", "snd_edge", "snd_nxt", "snd_scale", "snd_una", "srtt", "state",
        "tcp", "timed", "to_host", "tries", "waits", "wl1", "wl2", "writable",
    )  # fmt: skip

    def __init__(self, tcp: Tcp, key: Key, end: Any) -> None:
        self.tcp = tcp
        self.net = tcp.net
        self.key = key
        self.end = end
        self.state = CONNECTING
        self.from_host = False
        # the host's side
        self.readable = self.writable = self.hungup = False
        self.to_host: deque[bytes] = deque()
        self.kept = 0  # bytes in it
        self.shut = False  # the host was told that the guest has ended
        self.eof = False  # the host has ended
        # what we send to the guest
        self.snd_una = self.snd_nxt = tcp.initial_sequence()
        self.snd_edge = self.snd_una
        self.snd_scale = self.max_window = 0
        self.mss = 536
        self.sent: deque[Sent] = deque()
        self.fin_sent = False
        self.duplicates = 0
        self.recover: int | None = None  # a loss is being repaired up to here
        self.sack = False
        self.rto = FIRST_RTO
        self.srtt = self.rttvar = 0
        self.timed: tuple[int, int] | None = None  # when this is acknowledged, that was its start
        self.tries = 0
        self.waits = False  # the guest's window is shut, and the host has something
        # what the guest sends
        self.rcv_nxt = self.rcv_edge = self.rcv_scale = 0
        self.wl1 = self.wl2 = 0
        self.early: list[tuple[int, bytes]] = []  # by start
        self.early_bytes = 0
        self.fin_at: int | None = None
        self.guest_fin = False
        self.ack_due = False
        self.acked_to = 0  # what the guest was told last
        self.quick = QUICK_ACKS  # acknowledgements still to be sent at once
        self.lazy = False  # one is to be sent soon
        self.queued = False
        self._timer = self.net.machine.clock.timer(self._on_timer)
        self._timer_at: int | None = None
        guest, _, remote, _ = key
        self._sum = ones_sum(guest) + ones_sum(remote) + wire.TCP
        self._ip_sum = ones_sum(guest) + ones_sum(remote) + 0x4500 + 0x4000 + (64 << 8 | wire.TCP)
        tcp.connections[key] = self
        self._set_mss(536)

    def _set_mss(self, mss: int) -> None:
        six = len(self.key[0]) == 16
        self.mss = max(64, min(mss, wire.MTU - (wire.IP6_SIZE if six else wire.IP4_SIZE) - wire.TCP_SIZE))
        at = wire.ETH_SIZE + (wire.IP6_SIZE if six else wire.IP4_SIZE)
        self._plain = Offload(NEEDS_CSUM, csum_start=at, csum_offset=16)
        self._gso = Offload(NEEDS_CSUM, GSO_TCPV6 if six else GSO_TCPV4, at + wire.TCP_SIZE, self.mss, at, 16)

    # -- beginning ------------------------------------------------------------------------------------------

    def began(self, seq: int, window: int, options: memoryview) -> None:
        """The guest's SYN came; the host is being connected to."""
        self.rcv_nxt = self.rcv_edge = seq + 1
        self._read_options(options)
        self.max_window = window

    def host_connected(self) -> None:
        """Answer the guest's SYN."""
        self.state = SYN_RECEIVED
        self.writable = True
        self._send_control(SYN | ACK)

    def call_guest(self) -> None:
        """hostfwd: somebody connected to the host, connect to the guest."""
        self.from_host = True
        self.state = SYN_SENT
        self.writable = True
        self.sack = True
        self.rcv_scale = WINDOW_SHIFT
        self._send_control(SYN)

    def _read_options(self, data: memoryview) -> None:
        from .tcp import options_of

        found = options_of(data)
        mss = found.get(2, b"")
        self._set_mss(int.from_bytes(mss, "big") if len(mss) == 2 else 536)
        scale = found.get(3, b"")
        self.snd_scale, self.rcv_scale = (min(scale[0], 14), WINDOW_SHIFT) if len(scale) == 1 else (0, 0)
        self.sack = 4 in found

    def _syn_options(self) -> bytes:
        six = len(self.key[0]) == 16
        data = pack(">BBH", 2, 4, wire.MTU - (wire.IP6_SIZE if six else wire.IP4_SIZE) - wire.TCP_SIZE)
        if self.rcv_scale:
            data += pack("BBBB", 1, 3, 3, self.rcv_scale)
        if self.sack:
            data += b"\1\1\4\2"
        return data

    # -- segments of the guest --------------------------------------------------------------------------------

    def segment(self, seq: int, ack: int, flags: int, window: int, payload: memoryview, options: memoryview) -> None:
        """Called for every segment; answers are sent later, by output()."""
        if self.state <= SYN_SENT:
            self._early_segment(seq, ack, flags, window, options)
            return
        rel = ((seq - self.rcv_nxt + HALF) & MASK) - HALF
        size = len(payload)
        extent = size + (1 if flags & FIN else 0)
        room = self.rcv_edge - self.rcv_nxt
        if flags & (RST | SYN):
            # RFC 5961: only an exact RST ends it; whatever else falls into the window is answered with what we expect.
            if flags & RST and rel == 0:
                self._reset_by_guest()
            elif not flags & RST or 0 < rel <= room:
                if flags & SYN and self.state == SYN_RECEIVED and rel == -1:
                    self._resend()
                else:
                    self._ack_soon()
            return
        if rel + extent < (1 if extent else 0) or rel > room:
            self._ack_soon()  # all of it is old, or beyond the window
            if self.state == TIME_WAIT:
                self._arm(TIME_WAIT_NS)
            if rel > room or not flags & ACK:
                return
        elif not flags & ACK:
            return
        if self.state == SYN_RECEIVED and not self._opened(ack):
            return
        if not self._process_ack(rel, ack, window, size or flags & FIN, options):
            return
        if extent and not self.guest_fin:
            orderly = rel == 0 and not self.early
            if flags & FIN and rel + size <= room:
                self.fin_at = self.rcv_nxt + rel + size
            if rel < 0:
                payload, rel = payload[-rel:], 0
            if rel + len(payload) > room:
                payload, orderly = payload[: max(room - rel, 0)], False
            if payload:
                if rel == 0:
                    self._deliver(payload)
                    if self.early:
                        self._deliver_early()
                else:
                    self._keep_early(self.rcv_nxt + rel, payload)
            if self.fin_at == self.rcv_nxt and self.state != CLOSED:
                self.rcv_nxt += 1
                self.rcv_edge = max(self.rcv_edge, self.rcv_nxt)
                self.guest_fin = True
                self._shut_host()
                self._ack_soon()
            elif not orderly or self.quick or self.rcv_nxt - self.acked_to >= LAZY_BYTES:
                self._ack_soon()
            elif not self.lazy:
                self.lazy = True
                self.tcp.ack_later(self)

    def _early_segment(self, seq: int, ack: int, flags: int, window: int, options: memoryview) -> None:
        """Before both sides have agreed."""
        if self.state == CONNECTING:
            if flags & RST:
                self._reset_by_guest()
            return
        if flags & ACK and ack != (self.snd_una + 1) & MASK:
            if not flags & RST:
                self._send_reset(ack)
            return
        if flags & RST:
            if flags & ACK:
                self._reset_by_guest()
            return
        if not flags & SYN:
            return
        self.rcv_nxt = self.rcv_edge = seq + 1
        self._read_options(options)
        if flags & ACK:
            self.state = OPEN
            self._acknowledged(self.snd_una + 1)
            self._set_window(self.rcv_nxt, self.snd_una, window)
            self._ack_soon()
        else:
            self.state = SYN_RECEIVED
            self.sent.clear()
            self.snd_nxt = self.snd_una
            self._send_control(SYN | ACK)

    def _opened(self, ack: int) -> bool:
        if ack != self.snd_nxt & MASK:
            self._send_reset(ack)
            return False
        self.state = OPEN
        return True

    def _process_ack(self, rel: int, ack: int, window: int, has_data: int, options: memoryview) -> bool:
        """The acknowledgement and the window; False when the segment is to be thrown away."""
        acked = ((ack - self.snd_una + HALF) & MASK) - HALF
        if acked > self.snd_nxt - self.snd_una:
            self._ack_soon()
            return False
        old_edge = self.snd_edge
        if acked > 0:
            self._acknowledged(self.snd_una + acked)
            if self.state == CLOSED:
                return False
        if acked >= 0:
            seq = self.rcv_nxt + rel
            if self.wl1 < seq or (self.wl1 == seq and self.wl2 <= self.snd_una):
                self._set_window(seq, self.snd_una, window << self.snd_scale)
        if self.sent:
            if self.sack and options:
                self._read_sack(options)
            if acked == 0 and not has_data and self.snd_edge == old_edge:
                self.duplicates += 1
                if self.recover is not None:
                    self._repair()
                elif self.duplicates == 3:
                    self._lost()
        if self.waits and self.snd_edge > old_edge:
            self.waits = False
            self._set_rto()
        if self.readable and (self.snd_edge > self.snd_nxt or not self.sent):
            self.enqueue()
        return True

    def _set_window(self, seq: int, ack: int, window: int) -> None:
        self.snd_edge = ack + window
        self.wl1, self.wl2 = seq, ack
        if window > self.max_window:
            self.max_window = window

    def _acknowledged(self, una: int) -> None:
        sent = self.sent
        while sent and sent[0].end <= una:
            sent.popleft()
        self.snd_una = una
        self.duplicates = 0
        if self.tries:
            self.tries = 0
            self._set_rto()
        if self.timed is not None and una >= self.timed[0]:
            self._measured(self.net.machine.clock.now() - self.timed[1])
        if sent:
            self._arm(self.rto)
        else:
            self._timer_at = None
        if self.recover is not None:
            if una >= self.recover:
                self.recover = None
            else:
                self._repair()
        if self.fin_sent and una == self.snd_nxt:
            self._maybe_over()

    def _measured(self, rtt: int) -> None:
        """RFC 6298, 2."""
        self.timed = None
        if not self.srtt:
            self.srtt, self.rttvar = max(rtt, 1), rtt // 2
        else:
            self.rttvar = (3 * self.rttvar + abs(self.srtt - rtt)) // 4
            self.srtt = max((7 * self.srtt + rtt) // 8, 1)
        self._set_rto()

    def _set_rto(self) -> None:
        self.rto = min(max(self.srtt + 4 * self.rttvar, LEAST_RTO), MOST_RTO) if self.srtt else FIRST_RTO

    # -- data to the host -------------------------------------------------------------------------------------

    def _deliver(self, payload: memoryview | bytes) -> None:
        """The next bytes of the guest."""
        size = len(payload)
        if not self.to_host and self.writable:
            try:
                done = self.end.send(payload)
            except (BlockingIOError, InterruptedError):
                done = 0
            except OSError:
                self.rcv_nxt += size
                self.reset_guest()
                return
            self.rcv_nxt += done
            if done == size:
                return
            self.writable = False
            payload = payload[done:]
            size -= done
        if self.tcp.buffered + size > self.tcp.most_buffered:
            return  # not acknowledged: it comes again
        self.rcv_nxt += size
        self.to_host.append(bytes(payload))
        self.kept += size
        self.tcp.buffered += size

    def _keep_early(self, start: int, payload: memoryview) -> None:
        size = len(payload)
        if len(self.early) >= MOST_EARLY or self.early_bytes + size > self.tcp.window():
            return
        if self.tcp.buffered + size > self.tcp.most_buffered or any(at == start and len(have) >= size for at, have in self.early):
            return
        insort(self.early, (start, bytes(payload)))
        self.early_bytes += size
        self.tcp.buffered += size

    def _deliver_early(self) -> None:
        """The hole is filled: what waited behind it."""
        early = self.early
        while early and early[0][0] <= self.rcv_nxt and self.state != CLOSED:
            start, data = early.pop(0)
            self.early_bytes -= len(data)
            self.tcp.buffered -= len(data)
            if start + len(data) > self.rcv_nxt:
                self._deliver(data[self.rcv_nxt - start :])

    def _flush(self) -> None:
        """The host's socket has room again."""
        to_host = self.to_host
        while to_host:
            data = to_host[0]
            try:
                done = self.end.send(data)
            except (BlockingIOError, InterruptedError):
                done = 0
            except OSError:
                self.reset_guest()
                return
            self.kept -= done
            self.tcp.buffered -= done
            if done < len(data):
                to_host[0] = data[done:]
                self.writable = False
                break
            to_host.popleft()
        if not to_host and self.guest_fin:
            self._shut_host()
        # Tell the guest about the room when there is enough for it to matter (RFC 9293, 3.8.6.2.2).
        if self.state == OPEN and not self.guest_fin:
            window = self.tcp.window()
            if self.rcv_nxt + window - self.kept - self.rcv_edge >= min(window // 2, 2 * self.mss):
                self._ack_soon()

    def _shut_host(self) -> None:
        if not self.shut and not self.to_host and self.end is not None:
            self.shut = True
            with contextlib.suppress(OSError):
                self.end.shutdown(socket.SHUT_WR)
            self._maybe_over()

    # -- events of the host -----------------------------------------------------------------------------------

    def host_event(self, events: int) -> None:
        """From epoll (edge-triggered)."""
        if self.state == CONNECTING:
            error = self.end.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if error:
                self.drop()
                self.tcp.failed(self.key, (self.rcv_nxt - 1) & MASK, error)
                return
            if not events & select.EPOLLOUT:
                return
            self.host_connected()
        if events & HUNGUP:
            self.hungup = True
        if events & (select.EPOLLIN | HUNGUP):
            self.readable = True
            if self.state == OPEN:
                self.enqueue()
        if events & select.EPOLLOUT and not self.writable:
            self.writable = True
            if self.to_host:
                self._flush()

    def enqueue(self) -> None:
        if not self.queued:
            self.queued = True
            self.tcp.work.append(self)

    def _ack_soon(self) -> None:
        self.ack_due = True
        if not self.queued:
            self.queued = True
            self.tcp.work.append(self)

    # -- output -----------------------------------------------------------------------------------------------

    def output(self) -> bool:
        """Send a piece of data, or what else is due; True when there is more."""
        if self.state == OPEN and self.readable and not self.eof and self._send_data():
            return True
        if self.ack_due and self.state not in (CONNECTING, SYN_SENT, CLOSED):
            self._emit(self.snd_nxt, ACK, b"", self._sack_option() if self.early else b"")
        return False

    def _send_data(self) -> bool:
        usable = min(self.snd_edge, self.snd_una + self.tcp.window()) - self.snd_nxt
        if usable <= 0 or (usable < self.mss and usable < self.max_window // 2):
            # The window opens with an acknowledgement; when none is on its way we have to ask.
            if not self.sent and not self.waits:
                self.waits = True
                self._arm(self.rto)
            return False
        self.waits = False
        wanted = min(usable, 65000 // self.mss * self.mss)
        try:
            data = self.end.recv(wanted)
        except (BlockingIOError, InterruptedError):
            self.readable = False
            return False
        except OSError:
            self.reset_guest()
            return False
        if not data:
            self.eof = True
            self.fin_sent = True
            self._send_control(FIN | ACK)
            return False
        if len(data) < wanted and not self.hungup:
            self.readable = False
        start = self.snd_nxt
        self.snd_nxt = end = start + len(data)
        self.sent.append(Sent(start, end, data, ACK | PSH))
        if self.timed is None:
            self.timed = (end, self.net.machine.clock.now())
        if self._timer_at is None:
            self._arm(self.rto)
        self._emit(start, ACK | PSH, data)
        return self.readable

    def _send_control(self, flags: int) -> None:
        """SYN or FIN, which are acknowledged as if they were a byte."""
        start = self.snd_nxt
        self.snd_nxt += 1
        self.sent.append(Sent(start, self.snd_nxt, b"", flags))
        if self.timed is None:
            self.timed = (self.snd_nxt, self.net.machine.clock.now())
        if self._timer_at is None:
            self._arm(self.rto)
        self._emit(start, flags, b"", self._syn_options() if flags & SYN else b"")

    def _emit(self, seq: int, flags: int, data: bytes, options: bytes = b"") -> None:
        """One segment, as long as it may be; the card or the guest cuts it up."""
        guest, gport, remote, rport = self.key
        net = self.net
        window = 0
        if flags & ACK:
            self.ack_due = False
            self.acked_to = self.rcv_nxt
            if self.quick:
                self.quick -= 1
            free = self.tcp.window() - self.kept
            if self.tcp.buffered >= self.tcp.most_buffered:
                free = 0
            edge = max(self.rcv_nxt + free, self.rcv_edge)
            if flags & SYN:
                window = min(edge - self.rcv_nxt, 65535)
                self.rcv_edge = self.rcv_nxt + window
            else:
                window = min((edge - self.rcv_nxt) >> self.rcv_scale, 65535)
                self.rcv_edge = max(self.rcv_edge, self.rcv_nxt + (window << self.rcv_scale))
        elif flags & SYN:
            window = 65535
        size = len(data)
        length = wire.TCP_SIZE + len(options) + size
        mac = net.macs.get(guest, wire.NO_MAC)
        tail = (rport, gport, seq & MASK, self.rcv_nxt & MASK if flags & ACK else 0, (5 + len(options) // 4) << 4, flags,
                window, wire.fold(self._sum + length), 0)  # fmt: skip
        if len(guest) == 4:
            net.ident = ident = (net.ident + 1) & 0xFFFF
            total = wire.IP4_SIZE + length
            head = TCP4_FRAME.pack(mac, net.mac4, wire.ETH_IP4, 0x45, 0, total, ident, 0x4000, 64, wire.TCP,
                                   ~wire.fold(self._ip_sum + total + ident) & 0xFFFF, remote, guest, *tail)  # fmt: skip
        else:
            head = TCP6_FRAME.pack(mac, net.mac6, wire.ETH_IP6, 0x60000000, length, wire.TCP, 64, remote, guest, *tail)
        frame = head + options + data if options else head + data
        offload = self._gso if size > self.mss else self._plain
        if mac is wire.NO_MAC:
            net.resolve(guest, frame, offload)
        else:
            net.emit(frame, offload)

    # -- losses -------------------------------------------------------------------------------------------------

    def _lost(self) -> None:
        """The guest misses something: repair up to what has been sent by now (RFC 6582)."""
        self.recover = self.snd_nxt
        self.timed = None
        for piece in self.sent:
            piece.again = False
        self._repair(first=True)

    def _repair(self, first: bool = False) -> None:
        """Send the next missing piece again: the first unacknowledged, or with SACK one in front of what the guest has."""
        newest = max((piece.end for piece in self.sent if piece.have), default=0)
        for index, piece in enumerate(self.sent):
            if piece.start >= (self.recover or 0):
                return
            if piece.have or piece.again:
                continue
            if index == 0 or piece.end <= newest:
                piece.again = True
                self._send_again(piece)
            return

    def _send_again(self, piece: Sent) -> None:
        start, data = piece.start, piece.data
        if start < self.snd_una:
            data = data[self.snd_una - start :]
            start = self.snd_una
        self._emit(start, piece.flags, data, self._syn_options() if piece.flags & SYN else b"")
        self._arm(self.rto)

    def _resend(self) -> None:
        if self.sent:
            self._send_again(self.sent[0])

    def _read_sack(self, options: memoryview) -> None:
        from .tcp import options_of, sack_blocks

        for left, right in sack_blocks(options_of(options).get(5, b"")):
            low = self.snd_una + ((left - self.snd_una) & MASK)
            high = self.snd_una + ((right - self.snd_una) & MASK)
            if low >= high or high > self.snd_nxt:
                continue
            for piece in self.sent:
                if low <= piece.start and piece.end <= high:
                    piece.have = True

    def _sack_option(self) -> bytes:
        """What we have beyond the hole, at most three blocks."""
        if not self.sack:
            return b""
        blocks: list[list[int]] = []
        for start, data in self.early:
            if blocks and start <= blocks[-1][1]:
                blocks[-1][1] = max(blocks[-1][1], start + len(data))
            else:
                blocks.append([start, start + len(data)])
        blocks = blocks[:3]
        body = b"".join(pack(">II", left & MASK, right & MASK) for left, right in blocks)
        return pack("BBBB", 1, 1, 5, 2 + len(body)) + body

    # -- time -----------------------------------------------------------------------------------------------------

    def _arm(self, ns: int) -> None:
        """The timer goes off in `ns`; only brought forward at once, because most are put off before they fire."""
        at = self.net.machine.clock.now() + ns
        self._timer_at = at
        timer = self._timer
        if timer.deadline is None or timer.deadline > at:
            timer.arm(at)

    def _on_timer(self) -> None:
        at = self._timer_at
        if at is None or self.state == CLOSED:
            return
        if self.net.machine.clock.now() < at:
            self._timer.arm(at)
            return
        self._timer_at = None
        if self.state == TIME_WAIT:
            self.forget()
            return
        if self.sent:
            self._timed_out()
        elif self.waits:
            # A segment of nothing in front of the window makes the guest say how large it is now.
            self.rto = min(self.rto * 2, MOST_RTO)
            self._emit(self.snd_nxt - 1, ACK, b"")
            self._arm(self.rto)
        self.tcp.pump()

    def _timed_out(self) -> None:
        self.tries += 1
        if self.tries > (DATA_TRIES if self.state == OPEN else SYN_TRIES):
            self.reset_guest()
            return
        self.rto = min(self.rto * 2, MOST_RTO)
        self.timed = None
        for piece in self.sent:
            piece.again = piece.have = False  # the guest may have thrown away what it reported (RFC 2018, 8)
        self.recover = self.snd_nxt
        self.sent[0].again = True
        self._send_again(self.sent[0])

    # -- the end --------------------------------------------------------------------------------------------------

    def _maybe_over(self) -> None:
        """Have both directions ended, and does everybody know?"""
        if not (self.guest_fin and self.shut and self.fin_sent and self.snd_una == self.snd_nxt):
            return
        self._close_end()
        self.state = TIME_WAIT
        self._arm(TIME_WAIT_NS)
        self.tcp.waiting.append(self)

    def _close_end(self, reset: bool = False) -> None:
        end, self.end = self.end, None
        if end is None:
            return
        self.net.unwatch(end.fileno())
        with contextlib.suppress(OSError):
            if reset:
                # An RST for the peer instead of an orderly end.
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, pack("ii", 1, 0))
        with contextlib.suppress(OSError):
            end.close()

    def _reset_by_guest(self) -> None:
        self._close_end(reset=True)
        self.forget()

    def reset_guest(self) -> None:
        """The host's side is broken: the guest gets an RST."""
        if self.state >= SYN_SENT and self.state != CLOSED:
            self._emit(self.snd_nxt, RST | ACK if self.state != SYN_SENT else RST, b"")
        self.drop()

    def _send_reset(self, seq: int) -> None:
        guest, gport, remote, rport = self.key
        self.net.send_segment(remote, rport, guest, gport, seq, 0, RST)

    def drop(self) -> None:
        self._close_end(reset=True)
        self.forget()

    def forget(self) -> None:
        """Out of the table."""
        if self.state == CLOSED:
            return
        self._close_end()
        self.state = CLOSED
        self._timer.cancel()
        self.tcp.buffered -= self.kept + self.early_bytes
        self.kept = self.early_bytes = 0
        self.to_host.clear()
        self.early.clear()
        self.sent.clear()
        if self.tcp.connections.get(self.key) is self:
            del self.tcp.connections[self.key]
        waiting = self.tcp.waiting
        while waiting and waiting[0].state == CLOSED:
            waiting.popleft()

    # -- what people look at ----------------------------------------------------------------------------------

    def in_flight(self) -> int:
        return self.snd_nxt - self.snd_una

    def state_name(self) -> str:
        if self.state == OPEN:
            if self.guest_fin:
                return "LAST_ACK" if self.fin_sent else "CLOSE_WAIT"
            if self.fin_sent:
                return "FIN_WAIT_1" if self.sent else "FIN_WAIT_2"
            return "ESTABLISHED"
        return ("SYN_SENT", "SYN_SENT", "SYN_RCVD", "", "TIME_WAIT", "CLOSED")[self.state]
