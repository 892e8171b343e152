"""A worker of the pool whose verifier does what the answer says: the program behind the tests of worker failures."""

from __future__ import annotations

import contextlib
import os
import sys
import time

from realm.tasks.workers import _MEMORY_LIMIT, _limit, serve

#: Bytes that are taken and never touched: they count against the limit, and cost neither memory nor time.
leaked: list[bytes] = []


class Hostile:
    name = "hostile"

    def __call__(self, answer: str, gold: str, question: str = "") -> bool:
        if answer == "hang":
            while True:
                time.sleep(1)
        if answer == "spin":
            return bool(10**10**9)  # one operation of C that no Python signal handler can interrupt
        if answer == "die":
            os._exit(3)
        if answer == "raise":
            raise ZeroDivisionError("division")
        if answer == "print":
            print('[true, ""]', flush=True)
            os.write(1, b'[true, ""]\n')
        if answer == "leak":
            leaked.append(bytes(900 << 20))
        if answer == "eat":
            leaked.append(bytes(4 << 30))
        if answer == "half":
            # Every descriptor above those of the standard streams: one of them is that of the verdicts.
            for number in range(3, 20):
                with contextlib.suppress(OSError):
                    os.write(number, b"[true, ")
            if gold == "hang":
                time.sleep(1000)
        if answer == "flood":
            while True:
                for number in range(3, 20):
                    with contextlib.suppress(OSError):
                        os.write(number, b"x" * 4096)
        if answer == "torch":
            return "torch" in sys.modules
        return answer == gold

    def key(self, answer: str) -> str:
        return answer


if __name__ == "__main__":
    if sys.argv[1] == "deaf":  # it never reads a pair
        print('"ready"', flush=True)
        time.sleep(1000)
    if sys.argv[1] == "python":
        _limit(AS=_MEMORY_LIMIT)
        serve(Hostile(), float(sys.argv[3]))
