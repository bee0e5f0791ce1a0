"""What the warden's process runs: `python -I -S warden_main.py PID`. It imports little, so that it is there at once.

Standard input has lines, `+GROUP` and `-GROUP`: a process group that PID has started, and one that has ended. At its
end, or at that of PID, the groups that are left are killed.
"""

from __future__ import annotations

import os
import select
import sys

SIGKILL = 9  # the module signal would take longer to import than all the rest


def read_groups(parent: int) -> set[int]:
    """Keep the list of groups until the parent has closed the pipe or is gone; give what is left then."""
    groups: set[int] = set()
    poll = select.poll()
    poll.register(0, select.POLLIN)
    is_gone = False
    try:
        # A process that the parent has forked may hold the pipe open: the pipe's end is not enough.
        poll.register(os.pidfd_open(parent), select.POLLIN)
    except ProcessLookupError:
        is_gone = True  # before this process was ready: what it has said is in the pipe
    rest = b""
    while True:
        is_gone = is_gone or os.getppid() != parent
        ready = {descriptor for descriptor, _ in poll.poll(0 if is_gone else None)}
        if 0 not in ready:  # whatever was said before the parent's end has been read
            return groups
        data = os.read(0, 65536)
        if not data:
            return groups
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            (groups.add if line.startswith(b"+") else groups.discard)(int(line[1:]))


def main() -> None:
    """Wait, and kill what is left."""
    for group in read_groups(int(sys.argv[1])):
        try:
            os.killpg(group, SIGKILL)
        except OSError:
            continue  # it has ended, too


if __name__ == "__main__":
    main()
