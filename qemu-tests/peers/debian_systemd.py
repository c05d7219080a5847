#!/usr/bin/env python3
"""Builds the peer of the boot bench: Debian with systemd and the lab image's packages, by mkosi.

    qemu-tests/peers/debian_systemd.py OUT.raw

The image has the kernel, the packages, the verity and the UKI that builder/benches measures too.
Added is only what the bench looks for: a unit that, once the system is up, writes one line to the
console with the time since the kernel's start and the memory in use.
"""

import os
import shutil
import sys
import tempfile
import tomllib
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(PROJECT / "builder/benches"))

import peer  # noqa: E402  It lies beside the builder's own bench.

# What the lab image's kernel is told as well; a console of two lines a second would cost time.
COMMAND_LINE = "console=ttyS0 panic=10 quiet"

TARGET = """\
[Unit]
Requires=multi-user.target
After=multi-user.target
AllowIsolate=yes
"""

UNIT = """\
[Unit]
After=multi-user.target

[Service]
Type=oneshot
ExecStart=/bin/sh /usr/lib/bench/say-ready
"""

# What the lab image's bench overlay runs too, so that both say it in the same words.
SCRIPT = PROJECT / "qemu-tests/overlays/bench/files/usr/lib/bench/say-ready"


def main():
    if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
        sys.exit(__doc__)
    out = Path(sys.argv[1]).resolve()
    definition = tomllib.loads((PROJECT / "images/lab.toml").read_text())
    folder = Path(tempfile.mkdtemp(prefix="peer.", dir="/var/tmp"))
    # The toolbox's user has to reach the folder inside.
    folder.chmod(0o755)
    try:
        mkosi = peer.find(os.environ.get("MKOSI_TOOLBOX"), folder / "mkosi")
        extend(mkosi.directory)
        mkosi.prepare(definition, peer.packages_of(PROJECT, definition), peer.host_mirrors())
        adjust(mkosi.directory / "mkosi.conf")
        mkosi.cold()
        shutil.copyfile(mkosi.image(), out)
    except peer.Unavailable as reason:
        sys.exit(f"no peer image: {reason}")
    finally:
        shutil.rmtree(folder)


def extend(folder: Path):
    units = folder / "mkosi.extra/usr/lib/systemd/system"
    peer.write(units / "bench.target", TARGET)
    peer.write(units / "bench-ready.service", UNIT)
    peer.write(folder / "mkosi.extra/usr/lib/bench/say-ready", SCRIPT.read_text())
    wants = units / "bench.target.wants"
    wants.mkdir()
    (wants / "bench-ready.service").symlink_to("../bench-ready.service")
    (units / "default.target").symlink_to("bench.target")


def adjust(path: Path):
    text = path.read_text()
    before = "KernelCommandLine=console=ttyS0\n"
    assert before in text, "builder/benches/peer.py writes another command line"
    path.write_text(text.replace(before, f"KernelCommandLine={COMMAND_LINE}\n"))


if __name__ == "__main__":
    main()
