"""Processes that take slots of a machine, for tests that kill them or let them compete."""

from __future__ import annotations

import fcntl
import os
import struct
import sys
import threading
import time
from pathlib import Path

from geo_assets.sources.earth_engine.machine_limits import MachineSlots


def hold(folder, slots):
    """Take all slots, say so, and hold them until killed."""
    places = MachineSlots(Path(folder), slots)
    everyone = threading.Barrier(slots + 1)

    def keep():
        with places.held():
            everyone.wait()
            threading.Event().wait()

    for _ in range(slots):
        threading.Thread(target=keep, daemon=True).start()
    everyone.wait()
    print("held", flush=True)  # noqa: T201  # to the test
    sys.stdin.read()


def compete(folder, slots, turns):
    """Take slots ``turns`` times from more threads than slots; say the most and the order.

    A shared file counts the slots held by all processes, and the place of each turn among all.
    """
    places = MachineSlots(Path(folder), slots)
    shared = os.open(Path(folder) / "count", os.O_RDWR | os.O_CREAT)
    lock = threading.Lock()
    orders, most = [], 0
    left = iter(range(turns))

    def change(by):
        with lock:
            fcntl.flock(shared, fcntl.LOCK_EX)
            held, turn = struct.unpack("<qq", os.pread(shared, 16, 0).ljust(16, b"\0"))
            held, turn = held + by, turn + (by > 0)
            os.pwrite(shared, struct.pack("<qq", held, turn), 0)
            fcntl.flock(shared, fcntl.LOCK_UN)
            return held, turn

    def work():
        nonlocal most
        while True:
            with lock:
                if next(left, None) is None:
                    return
            with places.held():
                held, turn = change(+1)
                with lock:
                    most = max(most, held)
                    orders.append(turn)
                    if len(orders) == slots:
                        print("busy", flush=True)  # noqa: T201  # to the test
                time.sleep(0.002)  # the request
                change(-1)

    print("ready", flush=True)  # noqa: T201  # to the test
    sys.stdin.readline()
    threads = [threading.Thread(target=work) for _ in range(2 * slots)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(most, *sorted(orders), flush=True)  # noqa: T201  # to the test


if __name__ == "__main__":
    if sys.argv[1] == "hold":
        hold(sys.argv[2], int(sys.argv[3]))
    else:
        compete(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
