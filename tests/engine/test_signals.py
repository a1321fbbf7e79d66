"""Ctrl-C, SIGTERM and SIGHUP, in the main thread and outside of it."""

from __future__ import annotations

import functools
import signal
import threading
from collections.abc import Callable
from typing import Any

import pytest
from merkit.engine import signals
from merkit.engine.signals import (
    INTERRUPTED,
    StoppedAtOnce,
    at_first_signal,
    handlers_kept,
    ignore_interrupts,
    pass_on_from_handler,
    signals_deferred,
    sigterm_interrupts,
    stop_event,
)

ALL = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def handlers() -> list[Any]:
    return [signal.getsignal(number) for number in ALL]


@pytest.fixture(autouse=True)
def _handlers_come_back() -> Any:
    before = handlers()
    yield
    assert handlers() == before


def in_a_thread(function: Callable[[], None]) -> None:
    errors: list[BaseException] = []

    def run() -> None:
        try:
            function()
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_the_first_signal_sets_the_event_and_a_later_one_exits(
    number: int, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signals, "_TWICE_S", 0)
    with stop_event() as stop:
        assert (stop.event.is_set(), stop.code) == (False, None)
        signal.raise_signal(number)
        assert (stop.event.is_set(), stop.code) == (True, code)
        with pytest.raises(SystemExit) as error:
            signal.raise_signal(signal.SIGINT)
        assert error.value.code == 130
    assert stop.code == code


@pytest.mark.parametrize("second", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_that_comes_twice_is_one(second: int) -> None:
    """As ``timeout`` sends it: a run that ends at the second one loses the rows that it was to write."""
    with stop_event() as stop:
        for number in (signal.SIGINT, second, second):
            signal.raise_signal(number)
        assert stop.code == 130
    with sigterm_interrupts() as stop:
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        signal.raise_signal(second)
        assert stop.code == 130


def test_a_later_signal_interrupts_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signals, "_TWICE_S", 0)
    with sigterm_interrupts() as stop:
        for number, code in ((signal.SIGINT, 130), (signal.SIGTERM, 143)):
            with pytest.raises(KeyboardInterrupt):
                signal.raise_signal(number)
            assert stop.code == code


def test_sigterm_interrupts_as_ctrl_c_does() -> None:
    with pytest.raises(KeyboardInterrupt), sigterm_interrupts() as stop:
        signal.raise_signal(signal.SIGTERM)
    assert (stop.event.is_set(), stop.code) == (True, 143)
    with pytest.raises(KeyboardInterrupt), sigterm_interrupts() as stop:
        signal.raise_signal(signal.SIGINT)
    assert (stop.code or INTERRUPTED) == 130


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_what_interrupts_an_inner_block_is_known_to_the_outer_one(number: int, code: int) -> None:
    with sigterm_interrupts() as outer:
        with pytest.raises(KeyboardInterrupt), sigterm_interrupts() as inner:
            signal.raise_signal(number)
        assert (inner.code, outer.code) == (code, code)
    with sigterm_interrupts() as stop:
        assert stop.code is None


def test_ctrl_c_stays_ignored_in_the_background() -> None:
    with handlers_kept():
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        with sigterm_interrupts() as stop:
            signal.raise_signal(signal.SIGINT)
        assert stop.code is None
        with stop_event() as stop, signals_deferred():
            signal.raise_signal(signal.SIGINT)
        assert (stop.code, stop.event.is_set()) == (None, False)
        assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN


def test_a_closed_terminal_interrupts_as_sigterm_does() -> None:
    with pytest.raises(KeyboardInterrupt), sigterm_interrupts() as stop:
        signal.raise_signal(signal.SIGHUP)
    assert (stop.event.is_set(), stop.code) == (True, 129)


def test_under_nohup_a_closed_terminal_changes_nothing() -> None:
    with handlers_kept():
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        with stop_event() as stop, sigterm_interrupts() as other, signals_deferred():
            signal.raise_signal(signal.SIGHUP)
        assert (stop.code, other.code) == (None, None)
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN


def test_deferred_signals_take_effect_after_the_block() -> None:
    done = []

    def work() -> None:
        with signals_deferred():
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGTERM)
            done.append("the block")
        done.append("what follows")

    with pytest.raises(KeyboardInterrupt):
        work()
    assert done == ["the block"]
    with signals_deferred():
        pass


def test_of_deferred_signals_each_takes_effect(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also the second one, which ends the wait at once, and also where the block fails."""
    now = [0.0]
    monkeypatch.setattr(signals.time, "monotonic", lambda: now[0])

    def work(*times: float, error: Exception | None = None) -> None:
        with signals_deferred(), signals_deferred():
            for now[0] in times:
                signal.raise_signal(signal.SIGINT)
            now[0] = 100
            if error:
                raise error

    with stop_event() as stop:
        work(10, 10.4)  # sent twice
        assert stop.code == INTERRUPTED
    with stop_event() as stop, pytest.raises(StoppedAtOnce):
        work(10, 10.7, 11.4)
    assert stop.event.is_set()
    with stop_event() as stop, pytest.raises(ValueError, match="full"):
        work(10, error=ValueError("full"))
    assert stop.event.is_set()


def test_a_signal_that_comes_while_a_deferred_one_is_handled(monkeypatch: pytest.MonkeyPatch) -> None:
    """It has a time of its own, and is not the first one sent twice."""
    now = [10.0]
    monkeypatch.setattr(signals.time, "monotonic", lambda: now[0])

    def wait() -> None:
        now[0] += 0.7
        signal.raise_signal(signal.SIGTERM)

    with stop_event() as stop, at_first_signal(wait), pytest.raises(StoppedAtOnce), signals_deferred():
        signal.raise_signal(signal.SIGTERM)
    assert stop.event.is_set()


def test_handlers_are_kept_from_a_library() -> None:
    before = handlers()

    def library() -> None:
        with handlers_kept():
            for number in ALL:
                signal.signal(number, signal.SIG_IGN)
            raise ValueError("from inside")

    with pytest.raises(ValueError, match="from inside"):
        library()
    assert handlers() == before


def test_a_child_ignores_what_reaches_the_whole_group() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with handlers_kept():
        ignore_interrupts()
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGHUP)
        assert signal.getsignal(signal.SIGTERM) == before


def test_outside_the_main_thread_nothing_is_installed() -> None:
    before, inside = handlers(), []

    def work() -> None:
        with stop_event() as stop, sigterm_interrupts() as other, signals_deferred(), handlers_kept():
            inside.extend([handlers(), stop.code, stop.event.is_set(), other.code])

    in_a_thread(work)
    assert inside == [before, None, False, None]


class _Limit(Exception):
    def __call__(self, *_: object) -> None:
        raise self

    def handle(self, number: int, frame: object) -> None:
        raise self

    def once(self, *_: object) -> None:
        signal.signal(signal.SIGUSR1, signal.SIG_DFL)
        raise self


@pytest.mark.parametrize("kind", ["function", "object", "method", "partial", "once"])
def test_what_a_programs_own_handler_raises_is_passed_on(kind: str) -> None:
    limit = _Limit()

    def fail(*_: object) -> None:
        raise limit

    handler: Any = {"function": fail, "object": limit, "method": limit.handle, "once": limit.once}.get(kind)
    before = signal.signal(signal.SIGUSR1, handler or functools.partial(fail, "late"))
    try:
        with pytest.raises(_Limit) as passed_on:
            _interrupted()
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert passed_on.value is limit


def _interrupted() -> None:
    try:
        signal.raise_signal(signal.SIGUSR1)
    except Exception as error:
        pass_on_from_handler(error)


def test_what_no_handler_raises_is_kept() -> None:
    try:
        int("x")
    except ValueError as error:
        pass_on_from_handler(error)
