"""The loop that keeps many transfers going at once on one thread: libcurl's multi interface over the system's poller.

Deadlines run on a clock that stands still while the caller is busy with a reply, so that a slow caller does not make
servers look slow.
"""

from __future__ import annotations

import select
import socket
import time
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any

from bezoar.acquire.http.exchange import Reply, Request
from bezoar.acquire.http.failures import CONNECT_TIMEOUT, LINE_LOST, explain, one_line
from bezoar.acquire.http.interrupts import held_back
from bezoar.acquire.http.slot import Settings, Slot, load_pycurl
from bezoar.acquire.http.transfer import Transfer, check_headers
from bezoar.acquire.http.turns import Turns
from bezoar.acquire.http.urls import Refused, Target, check_url, follow, is_default_port
from bezoar.acquire.reasons import Reason

_LOOK_AROUND_S = 0.1  # how often deadlines are looked at
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.5, 60.0  # before another attempt
_MOST_KEPT = 1 << 16  # connections that libcurl keeps for reuse; it has no more ports
_WAITING = 1024  # requests that may wait for a host or for their next attempt before no more are taken


class Engine:
    """One multi handle with its connections; runs one exchange at a time."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._pycurl = pycurl = load_pycurl()
        self._multi = pycurl.CurlMulti()
        # Not select, which ends at 1024 descriptors; not epoll, which takes three more system calls a connection.
        self._poll = select.poll()
        self._masks = {
            pycurl.POLL_IN: select.POLLIN,
            pycurl.POLL_OUT: select.POLLOUT,
            pycurl.POLL_INOUT: select.POLLIN | select.POLLOUT,
        }
        self._multi.setopt(pycurl.M_SOCKETFUNCTION, self._watch)
        self._multi.setopt(pycurl.M_TIMERFUNCTION, self._set_timer)
        self._multi.setopt(pycurl.M_MAXCONNECTS, min(settings.limits.connections, _MOST_KEPT))
        self._timer: float | None = None
        self._opened: list[socket.socket] = []
        self._slots: list[Slot] = []
        self._idle: list[Slot] = []
        self._busy: dict[Any, _Hop] = {}
        self._turns: Turns[Transfer] = Turns(settings.limits.per_host)
        self._done: deque[Reply] = deque()
        self._paused = 0.0

    def run(self, requests: Iterable[Request]) -> Iterator[Reply]:
        """Replies in order of arrival. `requests` is drawn from when there is a connection for one more."""
        source: Iterator[Request] | None = iter(requests)
        look = 0.0
        while True:
            source = self._draw(source)
            if self._busy or self._turns.ready or self._turns.waiting:
                with held_back():
                    self._start_ready()
                    self._drive()
                    if (now := self._now()) >= look:
                        self._enforce_deadlines(now)
                        look = now + _LOOK_AROUND_S
                source = self._draw(source)  # so that connections are busy while the caller is
                with held_back():
                    self._start_ready()
            elif source is None and not self._done:
                return
            while self._done:
                reply = self._done.popleft()
                began = time.monotonic()
                yield reply
                self._paused += time.monotonic() - began

    def close(self) -> None:
        """Drop all connections."""
        with held_back():
            for curl in self._busy:
                self._multi.remove_handle(curl)
            self._busy.clear()
            for slot in self._slots:
                slot.curl.close()
            self._multi.close()
            self._close_opened()

    def _now(self) -> float:
        return time.monotonic() - self._paused

    def _draw(self, source: Iterator[Request] | None) -> Iterator[Request] | None:
        """Take as many requests as there are connections for; returns the source, None once it is exhausted."""
        connections = self._settings.limits.connections
        while (
            source is not None
            and len(self._busy) + self._turns.ready < connections
            and len(self._done) < connections
            and self._turns.waiting < _WAITING
        ):
            began = time.monotonic()
            request = next(source, None)
            self._paused += time.monotonic() - began
            if request is None:
                return None
            self._admit(request)
        return source

    def _admit(self, request: Request) -> None:
        check_headers(request)
        try:
            target = check_url(request.url)
            self._check_literal(target)
        except Refused as error:
            self._done.append(Reply(request, error.reason, error.detail, final_url=request.url))
            return
        except (
            Exception
        ) as error:  # lists are full of URLs that no parser foresaw; each costs its own row only
            self._done.append(Reply(request, Reason.BAD_URL, _unforeseen(error), final_url=request.url))
            return
        transfer = Transfer(request, target, target)
        self._turns.add(transfer.target.place, transfer)

    def _check_literal(self, target: Target) -> None:
        """What a connection would show, for a proxy, behind which connections cannot be seen."""
        if self._settings.proxy is None:
            return
        allowed = self._settings.allowed
        name = target.host == "localhost" or target.host.endswith(".localhost")
        if target.address is None and not name:
            return
        if allowed.name(target.host, target.port):
            return
        if target.address is None or not allowed.address(target.address, target.port):
            raise Refused(Reason.BLOCKED_ADDRESS, f"{target.host} is not a public address")

    def _start_ready(self) -> None:
        """Begin the next hops, as far as there are connections."""
        now, clock = time.monotonic(), self._now()
        while len(self._busy) < self._settings.limits.connections:
            transfer = self._turns.next(now)
            if transfer is None:
                return
            if self._idle:
                slot = self._idle.pop()
            else:
                slot = Slot(self._settings, self._opened)
                self._slots.append(slot)
            slot.start(transfer)
            self._busy[slot.curl] = _Hop(slot, clock)
            self._multi.add_handle(slot.curl)

    def _drive(self) -> None:
        """Wait for the network, let libcurl do its work, take in what has ended."""
        pycurl, multi = self._pycurl, self._multi
        for fd, events in self._poll.poll(self._patience() * 1000):
            multi.socket_action(fd, _ready(pycurl, events))
        if self._timer is not None and time.monotonic() >= self._timer:
            self._timer = None
            multi.socket_action(pycurl.SOCKET_TIMEOUT, 0)
        self._close_opened()
        queued = 1
        while queued:
            queued, whole, broken = multi.info_read()
            for curl in whole:
                self._end(curl, 0, "")
            for curl, code, message in broken:
                self._end(curl, code, message)

    def _patience(self) -> float:
        if self._done:
            return 0.0
        patience = _LOOK_AROUND_S
        now = time.monotonic()
        for until in (self._timer, self._turns.due()):
            if until is not None:
                patience = min(patience, max(0.0, until - now))
        return patience

    def _watch(self, what: int, fd: int, _multi: Any, _data: Any) -> None:
        """Called by libcurl: which socket to wait for, and for what."""
        if what in self._masks:
            self._poll.register(fd, self._masks[what])
        else:
            with suppress(KeyError):  # it may never have been waited for
                self._poll.unregister(fd)

    def _close_opened(self) -> None:
        """Libcurl works on a duplicate of each socket that it was given."""
        while self._opened:
            self._opened.pop().close()

    def _set_timer(self, milliseconds: int) -> None:
        """Called by libcurl: when to call it at the latest."""
        self._timer = None if milliseconds < 0 else time.monotonic() + milliseconds / 1000

    def _enforce_deadlines(self, now: float) -> None:
        limits = self._settings.limits
        for curl, hop in list(self._busy.items()):
            transfer = hop.slot.transfer
            if (progress := hop.slot.progress()) != hop.progress:
                hop.progress, hop.heard = progress, now
            if transfer.spent_s + now - hop.began > (whole := transfer.deadline_s(limits)):
                hop.late = Reason.DEADLINE, f"not whole within {whole:g} s"
            elif now - hop.heard > limits.timeout_s:
                hop.late = Reason.DEADLINE, f"nothing arrived for {limits.timeout_s:g} s"
                hop.may_pass = True
            else:
                continue
            self._end(curl, CONNECT_TIMEOUT, "")

    def _end(self, curl: Any, code: int, message: str) -> None:
        """One hop has ended: follow it, try again later, or reply."""
        hop = self._busy.pop(curl)
        self._multi.remove_handle(curl)
        slot, transfer = hop.slot, hop.slot.transfer
        self._turns.release(transfer.target.place)
        if slot.raised is not None:
            raise slot.raised
        try:
            slot.finish()
            if not self._goes_on(hop, code):
                self._settle(hop, code, message)
        except Exception as error:  # whatever a server sends may cost its own row only
            self._done.append(_unreadable(transfer, error))
        self._idle.append(slot)

    def _goes_on(self, hop: _Hop, code: int) -> bool:
        """Queue the next hop of the same attempt, if there is one."""
        slot, transfer = hop.slot, hop.slot.transfer
        spent = self._now() - hop.began
        if hop.late is None and self._is_nobodys_fault(slot, code, spent):
            transfer.spent_s += spent
            self._turns.add(transfer.target.place, transfer)
            return True
        if slot.answer is None or slot.answer.location is None or (hop.late is not None and not hop.may_pass):
            return False  # the body of a redirect does not matter, only the deadline does
        try:
            target = self._next_target(transfer, slot.answer.location)
        except Refused as error:
            slot.problem = error.reason, error.detail
            return False
        transfer.redirects.append(transfer.target.url)
        transfer.target = target
        transfer.spent_s += spent
        self._turns.add(transfer.target.place, transfer)
        return True

    def _is_nobodys_fault(self, slot: Slot, code: int, spent_s: float) -> bool:
        """Whether this hop is simply to be made once more."""
        if code == CONNECT_TIMEOUT:  # the caller took its time, not the server
            return spent_s < 0.9 * self._settings.limits.timeout_s
        reused = slot.curl.getinfo(self._pycurl.NUM_CONNECTS) == 0
        return code in LINE_LOST and reused and not slot.head_size() and not slot.blocked

    def _next_target(self, transfer: Transfer, location: str) -> Target:
        most = self._settings.limits.max_redirects
        target = follow(transfer.target, location)
        self._check_literal(target)
        allowed = self._settings.allowed
        if not (
            is_default_port(target)
            or (target.host, target.port) == transfer.target.place
            or allowed.name(target.host, target.port)
            or (target.address is not None and allowed.network(target.address, target.port))
        ):
            raise Refused(Reason.BLOCKED_ADDRESS, f"redirect to port {target.port} of {target.host}")
        if target.url in (*transfer.redirects, transfer.target.url):
            raise Refused(Reason.TOO_MANY_REDIRECTS, "redirects in a loop")
        if len(transfer.redirects) >= most:
            raise Refused(Reason.TOO_MANY_REDIRECTS, f"more than {most} redirects")
        return target

    def _settle(self, hop: _Hop, code: int, message: str) -> None:
        slot, transfer = hop.slot, hop.slot.transfer
        failure = slot.problem or hop.late
        if failure is None and code != 0:
            failure = explain(slot, code, message)
        if failure is None and slot.answer is None:
            failure = Reason.CONNECTION, "an answer without a head"
        if failure is not None and self._may_pass(hop, failure[0]):
            self._turns.add_later(transfer.first.place, transfer, time.monotonic() + self._wait_s(hop))
            transfer.start_again()
            return
        self._done.append(self._reply(slot, failure))

    def _may_pass(self, hop: _Hop, reason: Reason) -> bool:
        transfer, answer = hop.slot.transfer, hop.slot.answer
        if transfer.handed_on or transfer.attempts > self._settings.limits.retries:
            return False
        if reason is Reason.HTTP_STATUS:
            return answer is not None and (answer.status == 429 or answer.status >= 500)
        return reason in (Reason.CONNECTION, Reason.TRUNCATED) or hop.may_pass

    def _wait_s(self, hop: _Hop) -> float:
        answer = hop.slot.answer
        asked = answer.retry_after_s() if answer is not None else None
        backoff = _FIRST_WAIT_S * 2.0 ** (hop.slot.transfer.attempts - 1)
        return min(_LONGEST_WAIT_S, max(backoff, asked or 0.0))

    def _reply(self, slot: Slot, failure: tuple[Reason, str] | None) -> Reply:
        transfer, answer, curl = slot.transfer, slot.answer, slot.curl
        reason, detail = failure or (None, "")
        address = curl.getinfo(self._pycurl.PRIMARY_IP)
        shown = f"[{address}]" if ":" in address else address
        return Reply(
            transfer.request,
            reason,
            detail,
            body=slot.pieces[0] if len(slot.pieces) == 1 else b"".join(slot.pieces),
            sha256=slot.digest(),
            size=slot.size,
            status=answer.status if answer is not None else None,
            final_url=transfer.target.url,
            redirects=tuple(transfer.redirects),
            peer=f"{shown}:{curl.getinfo(self._pycurl.PRIMARY_PORT)}" if address else "",
            tls_verified=answer is not None if transfer.target.scheme == "https" else None,
            fetched=slot.fetched,
            headers=answer.chosen() if answer is not None else {},
            attempts=transfer.attempts,
        )


def _unreadable(transfer: Transfer, error: Exception) -> Reply:
    """The reply where the answer made this client stumble: nothing of that answer is used."""
    return Reply(
        transfer.request,
        Reason.CONNECTION,
        _unforeseen(error),
        final_url=transfer.target.url,
        redirects=tuple(transfer.redirects),
        attempts=transfer.attempts,
    )


def _unforeseen(error: Exception) -> str:
    return one_line(
        f"it cannot be read; a fault in bezoar, please report it ({type(error).__name__}: {error})"
    )


def _ready(pycurl: Any, events: int) -> int:
    bits = 0
    if events & (select.POLLIN | select.POLLHUP):
        bits |= pycurl.CSELECT_IN
    if events & select.POLLOUT:
        bits |= pycurl.CSELECT_OUT
    if events & (select.POLLERR | select.POLLNVAL):
        bits |= pycurl.CSELECT_ERR
    return bits


class _Hop:
    """One answer that is being waited for, on the engine's clock."""

    __slots__ = ("began", "heard", "late", "may_pass", "progress", "slot")

    def __init__(self, slot: Slot, now: float) -> None:
        self.slot = slot
        self.began = self.heard = now
        self.progress = (0, 0)
        self.late: tuple[Reason, str] | None = None
        self.may_pass = False
