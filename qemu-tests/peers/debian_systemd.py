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
# The root can't be written, as ours; the usual way to live with that is a layer in memory.
COMMAND_LINE = "console=ttyS0 panic=10 quiet systemd.volatile=overlay"

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

# systemd-repart writes FAT32 with sectors of 4096 bytes. 256 MiB have too few of them to count as
# FAT32, and firmware then finds no file system at all. The build's bench never boots its image.
BOOT_PARTITION_MIB = 512

# As Debian leaves them, the network waits two minutes for a DHCP server that isn't there, and
# HAProxy fails for want of a front end. A peer that only waits would be no peer.
NETWORK = """\
[Match]
Type=ether

[Network]
Address=192.168.77.12/24
LinkLocalAddressing=no
IPv6AcceptRA=no
"""
FRONT_END = """
frontend bench
    bind :8080
    default_backend bench

backend bench
    server self 127.0.0.1:5432
"""
# In ours the keeper decides when it starts.
MASKED = ["postgresql.service"]

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
        replace(mkosi.directory / "mkosi.conf", "KernelCommandLine=console=ttyS0\n",
                f"KernelCommandLine={COMMAND_LINE}\n")
        replace(mkosi.directory / "mkosi.repart/00-esp.conf", "256M", f"{BOOT_PARTITION_MIB}M")
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
    peer.write(folder / "mkosi.extra/etc/systemd/network/10-wired.network", NETWORK)
    masks = folder / "mkosi.extra/etc/systemd/system"
    masks.mkdir()
    for name in MASKED:
        (masks / name).symlink_to("/dev/null")
    # After the package wrote its own configuration, which stays the greater part.
    peer.write(folder / "mkosi.postinst.chroot",
               f"#!/bin/sh\nset -e\ncat >> /etc/haproxy/haproxy.cfg <<'END'{FRONT_END}END\n")
    (folder / "mkosi.postinst.chroot").chmod(0o755)


def replace(path: Path, before: str, after: str):
    text = path.read_text()
    assert before in text, f"builder/benches/peer.py no longer writes {before!r} into {path.name}"
    path.write_text(text.replace(before, after))


if __name__ == "__main__":
    main()
