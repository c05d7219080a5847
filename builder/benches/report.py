"""Turns measurements into the Markdown that results.md is."""

from dataclasses import dataclass
from typing import Optional

# Each row of the table of times, and what it is called there.
ROWS = {
    "packed": "ours, packages cached as .deb files",
    "unpacked": "ours, packages cached and unpacked",
    "cold": "ours, empty cache, download included",
    "second": "ours, second node, a command of its own",
    "first_again": "ours, one node, image of these inputs cached",
    "both": "ours, two nodes, image of these inputs cached",
    "mkosi-warm": "mkosi, packages cached as .deb files",
    "mkosi-cold": "mkosi, empty cache, download included",
}
# Which row of mkosi's is the same task.
COUNTERPARTS = {"packed": "mkosi-warm", "unpacked": "mkosi-warm", "cold": "mkosi-cold",
                "second": "mkosi-warm"}
SIZES = {
    "apparent": "image file, apparent",
    "allocated": "image file, allocated on disk",
    "root_used": "root file system, used",
    "root_entries": "root file system, entries",
    "kernel_image": "UKI (kernel, initramfs)",
    "compressed": "whole image, zstd -3",
}
COUNTS = {"root_entries"}


@dataclass(frozen=True)
class Facts:
    """What a reader must know to believe the numbers or to repeat them."""

    date: str
    command: str
    machine: str
    ours: str
    mkosi: Optional[str]
    rounds: int


def render(facts: Facts, rows, images, packages, skipped) -> str:
    parts = [heading(facts, skipped), times(rows), added_node(rows), sizes(images),
             closures(packages), DIFFERENCES if facts.mkosi else None]
    return "\n\n".join(part for part in parts if part)


def heading(facts, skipped):
    peer = facts.mkosi or f"skipped: {skipped}"
    lines = [
        "# The lab image: time and size",
        "",
        "Generated; README.md says what the rows mean.",
        "",
        f"- command: `{facts.command}`",
        f"- date: {facts.date}",
        f"- machine: {facts.machine}",
        f"- ours: {facts.ours}",
        f"- mkosi: {peer}",
    ]
    return "\n".join(lines)


def times(rows):
    lines = [
        "| build | runs | wall s, median (min–max) | user+sys s | peak memory, largest process "
        "| wall, mkosi / ours | user+sys, mkosi / ours |",
        "|---|--:|--:|--:|--:|--:|--:|",
    ]
    for name, title in ROWS.items():
        if name not in rows:
            continue
        sample, other = rows[name], rows.get(COUNTERPARTS.get(name))
        wall = (f"{sample.median('wall_seconds'):.2f} ({sample.lowest('wall_seconds'):.2f}–"
                f"{sample.highest('wall_seconds'):.2f})")
        lines.append(
            f"| {title} | {len(sample.runs)} | {wall} "
            f"| {sample.median('processor_seconds'):.2f} "
            f"| {megabytes(sample.median('peak_bytes'))} | {faster(sample, other, 'wall_seconds')} "
            f"| {faster(sample, other, 'processor_seconds')} |")
    return "\n".join(lines)


def faster(sample, other, field):
    if other is None:
        return "–"
    return f"{other.median(field) / sample.median(field):.0f}×"


def added_node(rows):
    """What a second seed adds to a command, round by round."""
    pairs = zip(rows["first_again"].runs, rows["both"].runs)
    added = sorted(two.wall_seconds - one.wall_seconds for one, two in pairs)
    middle = added[len(added) // 2]
    return (f"A second node in the same command adds {middle:.2f} s "
            f"({added[0]:.2f} to {added[-1]:.2f}): two nodes less one node, round by round.")


def sizes(images):
    ours, other = images["ours"], images.get("mkosi")
    lines = ["| size | ours | mkosi | ours / mkosi |", "|---|--:|--:|--:|"]
    for field, title in SIZES.items():
        show = str if field in COUNTS else megabytes
        mine, theirs = getattr(ours, field), getattr(other, field, None)
        if mine is None:
            continue
        ratio = f"{mine / theirs:.2f}" if theirs else "–"
        lines.append(f"| {title} | {show(mine)} | {show(theirs) if theirs else '–'} | {ratio} |")
    return "\n".join(lines)


def closures(packages):
    """How many packages each image has, and whether both took the same versions."""
    ours, other = packages["ours"], packages.get("mkosi")
    if other is None:
        return f"Files of {len(ours)} packages are in our image."
    shared = ours.keys() & other.keys()
    unequal = sorted(name for name in shared if ours[name] != other[name])
    versions = f"not of {', '.join(unequal)}" if unequal else "of the same versions"
    return (f"Files of {len(ours)} packages are in our image, mkosi's has {len(other)} packages; "
            f"{len(shared)} are in both, {versions}.")


def megabytes(count):
    return f"{count / 1e6:.1f} MB"


DIFFERENCES = """\
The two images are made from the same Debian suites and the same named packages, but they are not
the same thing. mkosi installs whole packages with all that these depend on (systemd, perl, LLVM,
libz3), and runs their scripts; its initramfs is a small Debian too. Ours takes the files that the
overlays name with the libraries these need, runs no package script, and adds its own init; it has a
second, empty slot. So the ratio is that of two ways to a node that runs PostgreSQL and HAProxy
under verity, not that of two programs doing the same steps. Neither image is signed for Secure
Boot; mkosi also signs the verity root hash."""
