"""A wait for the links of this network namespace to change."""

from __future__ import annotations

import select
import socket

# linux/rtnetlink.h: messages about links.
_RTMGRP_LINK = 1

# Even without news, the caller looks again after so long.
_LONGEST_S = 5.0


class LinkWatch:
    """Knows of every change of a link since it was made, in the network namespace in which it was made."""

    def __init__(self) -> None:
        """Listen.

        Raises:
            OSError
        """
        self._socket = socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK, socket.NETLINK_ROUTE
        )
        try:
            self._socket.bind((0, _RTMGRP_LINK))
        except BaseException:
            self._socket.close()
            raise

    def wait(self, timeout_s: float) -> None:
        """Return when a link has changed since the last call, after `timeout_s`, or after some seconds."""
        ready = select.poll()
        ready.register(self._socket, select.POLLIN)
        ready.poll(max(0, int(min(timeout_s, _LONGEST_S) * 1000)))
        while True:
            try:
                self._socket.recv(1 << 16)
            except BlockingIOError:
                return
            except OSError:
                # ENOBUFS: more changed than fits. That, too, is news.
                continue

    def close(self) -> None:
        """Listen no more. Closing twice is closing once."""
        self._socket.close()
