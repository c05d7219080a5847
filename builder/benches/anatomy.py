"""Looks into a raw disk image: what the root file system holds, how large the kernel image is.

It reads GPT, ext4 and FAT by itself, a few fields of each, so that an image of ours and one of
another builder are measured by the same rule, without mounting and without their own tools.
"""

import shutil
import struct
import subprocess
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

SECTOR_BYTES = 512
ESP = uuid.UUID("c12a7328-f81f-11d2-ba4b-00a0c93ec93b")
ROOT_X86_64 = uuid.UUID("4f68bce3-e8cd-4db1-96e7-fbcaf984b709")
EXT4_MAGIC = 0xEF53
FAT_DIRECTORY = 0x10
FAT_LONG_NAME = 0x0F
# A chain of clusters longer than this is a loop: 4 GiB in the smallest clusters.
FAT_CHAIN_LIMIT = 8 << 20
ZSTD_LEVEL = 3


class Unreadable(Exception):
    """The file is not an image of the shape that is measured here."""


@dataclass(frozen=True)
class Anatomy:
    """What an image is made of, in bytes."""

    apparent: int
    allocated: int
    root_used: int
    root_entries: int
    kernel_image: int
    compressed: Optional[int]


def examine(path: Path) -> Anatomy:
    stat = path.stat()
    with open(path, "rb") as image:
        partitions = read_partitions(image)
        used, entries = read_ext4(image, partitions[ROOT_X86_64])
        kernel = Fat(image, partitions[ESP]).largest(["EFI", "LINUX"])
    return Anatomy(stat.st_size, stat.st_blocks * 512, used, entries, kernel, compress(path))


def read_partitions(image):
    """Where the first partition of each type begins."""
    image.seek(SECTOR_BYTES)
    header = image.read(SECTOR_BYTES)
    if header[:8] != b"EFI PART":
        raise Unreadable(f"{image.name}: no GPT")
    start, count, size = struct.unpack_from("<QII", header, 72)
    image.seek(start * SECTOR_BYTES)
    found = {}
    for _ in range(count):
        entry = image.read(size)
        kind = uuid.UUID(bytes_le=entry[:16])
        found.setdefault(kind, struct.unpack_from("<Q", entry, 32)[0] * SECTOR_BYTES)
    for kind in (ESP, ROOT_X86_64):
        if kind not in found:
            raise Unreadable(f"{image.name}: no partition of type {kind}")
    return found


def read_ext4(image, offset):
    """Bytes and inodes in use, as the superblock counts them."""
    image.seek(offset + 1024)
    block = image.read(1024)
    if struct.unpack_from("<H", block, 56)[0] != EXT4_MAGIC:
        raise Unreadable(f"{image.name}: the root partition is no ext4")
    inodes, blocks, _, free_blocks, free_inodes, _, shift = struct.unpack_from("<7I", block)
    return (blocks - free_blocks) * (1024 << shift), inodes - free_inodes


class Fat:
    """A FAT file system, for the sizes in one folder; names are compared in their short form."""

    def __init__(self, image, offset):
        self.image = image
        sector = self.read(offset, SECTOR_BYTES)
        size, self.cluster_sectors, reserved, copies = struct.unpack_from("<HBHB", sector, 11)
        if size == 0 or self.cluster_sectors == 0 or sector[510:] != b"\x55\xaa":
            raise Unreadable(f"{image.name}: the ESP is no FAT")
        self.root_entries, small_total = struct.unpack_from("<HH", sector, 17)
        small_table = struct.unpack_from("<H", sector, 22)[0]
        large_total, large_table = struct.unpack_from("<II", sector, 32)
        table_sectors = small_table or large_table
        self.root_cluster = 0 if small_table else struct.unpack_from("<I", sector, 44)[0]
        self.cluster_bytes = self.cluster_sectors * size
        self.table = offset + reserved * size
        self.root = self.table + copies * table_sectors * size
        self.data = self.root + (self.root_entries * 32 + size - 1) // size * size
        sectors = (small_total or large_total) - (self.data - offset) // size
        clusters = sectors // self.cluster_sectors
        # The number of clusters alone decides how wide an entry of the table is.
        self.width = 12 if clusters < 4085 else 16 if clusters < 65525 else 32

    def read(self, offset, count):
        self.image.seek(offset)
        return self.image.read(count)

    def next(self, cluster):
        if self.width == 12:
            pair = struct.unpack("<H", self.read(self.table + cluster * 3 // 2, 2))[0]
            value = pair >> 4 if cluster % 2 else pair & 0xFFF
            return value if value < 0xFF8 else None
        if self.width == 16:
            value = struct.unpack("<H", self.read(self.table + cluster * 2, 2))[0]
            return value if value < 0xFFF8 else None
        value = struct.unpack("<I", self.read(self.table + cluster * 4, 4))[0] & 0x0FFFFFFF
        return value if value < 0x0FFFFFF8 else None

    def folder(self, cluster):
        """The entries of a folder; cluster 0 means the root."""
        cluster = cluster or self.root_cluster
        if cluster == 0:
            content = self.read(self.root, self.root_entries * 32)
        else:
            content = b""
            for _ in range(FAT_CHAIN_LIMIT):
                content += self.read(self.data + (cluster - 2) * self.cluster_bytes,
                                     self.cluster_bytes)
                cluster = self.next(cluster)
                if cluster is None or cluster < 2:
                    break
        for at in range(0, len(content), 32):
            entry = content[at:at + 32]
            if entry[0] == 0:
                return
            if entry[0] != 0xE5 and entry[11] & FAT_LONG_NAME != FAT_LONG_NAME:
                yield entry

    def largest(self, path):
        """The size of the largest file in a folder."""
        cluster = 0
        for name in path:
            for entry in self.folder(cluster):
                if entry[11] & FAT_DIRECTORY and entry[:11].rstrip() == name.encode():
                    high = struct.unpack_from("<H", entry, 20)[0]
                    cluster = high << 16 | struct.unpack_from("<H", entry, 26)[0]
                    break
            else:
                raise Unreadable(f"{self.image.name}: the ESP has no {'/'.join(path)}")
        files = [entry for entry in self.folder(cluster) if not entry[11] & FAT_DIRECTORY]
        return max((struct.unpack_from("<I", entry, 28)[0] for entry in files), default=0)


def compress(path: Path) -> Optional[int]:
    """The size of the whole image in zstd, or nothing where that tool is missing."""
    zstd = shutil.which("zstd")
    if zstd is None:
        return None
    # One thread: with more, the size depends on how many there are.
    command = [zstd, f"-{ZSTD_LEVEL}", "--single-thread", "-q", "-c", str(path)]
    total = 0
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        while chunk := process.stdout.read(1 << 20):
            total += len(chunk)
    if process.returncode != 0:
        raise Unreadable(f"zstd could not read {path}")
    return total
