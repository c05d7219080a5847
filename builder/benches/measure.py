"""Runs a command and says what it cost: seconds, processor time, peak memory.

The kernel adds up a process and all the children that were waited for, so one number holds for a
single program and for one that starts a hundred helpers. The peak of memory is that of the largest
single process among them, not their sum; pages of the file cache are not in it.
"""

import os
import statistics
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

# How much of a failed command's output is worth showing.
LOG_TAIL_LINES = 25


class Failed(Exception):
    """A command that was to be measured ended with an error."""


@dataclass(frozen=True)
class Run:
    """What one run cost."""

    wall_seconds: float
    processor_seconds: float
    peak_bytes: int


@dataclass(frozen=True)
class Sample:
    """The same command, several times."""

    runs: tuple

    def median(self, field):
        return statistics.median(getattr(run, field) for run in self.runs)

    def lowest(self, field):
        return min(getattr(run, field) for run in self.runs)

    def highest(self, field):
        return max(getattr(run, field) for run in self.runs)


def measure(command, log: Path, directory=None, environment=None) -> Run:
    """Runs the command to its end, its output in `log`, and refuses a run that failed."""
    with open(log, "wb") as output:
        start = time.monotonic()
        process = subprocess.Popen(
            [str(word) for word in command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=directory,
            env={**os.environ, **(environment or {})},
        )
        # Not Popen.wait: only wait4 tells what this child used, and not all children so far.
        try:
            _, status, usage = os.wait4(process.pid, 0)
        except BaseException:
            process.terminate()
            process.wait()
            raise
        wall = time.monotonic() - start
    # Popen must learn that its child is gone, or it warns when it is dropped.
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-LOG_TAIL_LINES:])
        raise Failed(f"{command[0]} ended with {process.returncode}; see {log}:\n{tail}")
    # Linux counts ru_maxrss in KiB.
    return Run(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024)
