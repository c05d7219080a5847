#!/usr/bin/env python3
"""Measures how long the lab image takes to build, how large it is, and both against mkosi.

    builder/benches/image.py > table.md

The two builders take turns in each round, so that a busy minute of the machine hits both. All
timed builds but the cold ones work without the network. What is written to standard output is
Markdown; progress goes to standard error. README.md says what each row means.
"""

import argparse
import datetime
import json
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

import anatomy
import measure
import peer
import report

PROJECT = Path(__file__).resolve().parents[2]
DEFINITION = "lab"
NODES = ("node1", "node2")


def main():
    options = arguments()
    definition = tomllib.loads((PROJECT / f"images/{DEFINITION}.toml").read_text())
    folder = Path(tempfile.mkdtemp(prefix="bench.", dir=options.work))
    # The toolbox's user has to reach the folder inside.
    folder.chmod(0o755)
    try:
        ours = Ours(obtain_builder(), folder / "ours")
        mkosi, reason = prepare_peer(options, definition, folder / "mkosi")
        ours.prepare()
        facts = machine(ours, mkosi, options)
        rows, packages = run_rounds(options.rounds, ours, mkosi)
        say("looking into the images")
        images = {"ours": anatomy.examine(ours.image(NODES[0]))}
        if mkosi:
            images["mkosi"] = anatomy.examine(mkosi.image())
        print(report.render(facts, rows, images, packages, reason))
    finally:
        if options.keep:
            say(f"kept {folder}")
        else:
            shutil.rmtree(folder)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3, help="how often each build is timed")
    parser.add_argument("--work", default="/var/tmp", help="where to build; takes about 4 GB")
    parser.add_argument("--keep", action="store_true", help="leave images and logs there")
    parser.add_argument("--no-mkosi", action="store_true", help="measure ours only")
    return parser.parse_args()


def obtain_builder() -> Path:
    """The builder that the environment names, else the checkout's, made up to date."""
    given = os.environ.get("BUILDER")
    if given:
        return Path(given).resolve()
    say("building the builder")
    subprocess.run(["cargo", "build", "--locked", "--release", "--package", "builder"],
                   cwd=PROJECT, check=True, stdout=sys.stderr)
    target = Path(os.environ.get("CARGO_TARGET_DIR", PROJECT / "target"))
    return (PROJECT / target / "release/builder").resolve()


class Ours:
    """The project's own builder, with a cache and seeds of its own."""

    def __init__(self, builder: Path, folder: Path):
        self.builder, self.folder, self.cache = builder, folder, folder / "cache"
        folder.mkdir()
        for node in NODES:
            # A copy, because the first build puts secrets beside a seed.
            shutil.copy(PROJECT / f"images/lab/{node}.toml", folder)

    def image(self, node) -> Path:
        return self.folder / f"out/{DEFINITION}-{node}.raw"

    def build(self, *options, nodes=NODES[:1], cache=None):
        seeds = [word for node in nodes for word in ("--seed", self.folder / f"{node}.toml")]
        command = [self.builder, "--project", PROJECT, "--cache", cache or self.cache, "build",
                   "--quiet", "--image", DEFINITION, "--out", self.folder / "out", *seeds, *options]
        return measure.measure(command, self.folder / "builder.log", directory=self.folder)

    def prepare(self):
        """Node binaries, secrets and the package cache, none of which is timed."""
        say("first build: node binaries, packages")
        self.build(nodes=NODES)

    def packages(self):
        """Versions by name, as the image lists them."""
        answer = subprocess.run([self.builder, "--json", "inspect", self.image(NODES[0])],
                                capture_output=True, check=True)
        return {package["name"]: package["version"]
                for package in json.loads(answer.stdout)["packages"]}

    def cold(self):
        cache = self.folder / "empty"
        try:
            return self.build(cache=cache)
        finally:
            shutil.rmtree(cache, ignore_errors=True)

    def packed(self):
        """From .deb files, as mkosi does: nothing that was unpacked before is used."""
        for part in ("unpacked", "bases"):
            shutil.rmtree(self.cache / part, ignore_errors=True)
        return self.build("--anew", "--offline")

    def unpacked(self):
        return self.build("--anew", "--offline")

    def second(self):
        self.image(NODES[1]).unlink(missing_ok=True)
        return self.build("--offline", nodes=NODES[1:])

    def first_again(self):
        self.image(NODES[0]).unlink(missing_ok=True)
        return self.build("--offline", nodes=NODES[:1])

    def both(self):
        for node in NODES:
            self.image(node).unlink(missing_ok=True)
        return self.build("--offline", nodes=NODES)


def prepare_peer(options, definition, folder):
    """mkosi ready to build, or why there is none."""
    if options.no_mkosi:
        return None, "--no-mkosi"
    try:
        mkosi = peer.find(os.environ.get("MKOSI_TOOLBOX"), folder)
        mkosi.prepare(definition, peer.packages_of(PROJECT, definition), peer.host_mirrors())
        return mkosi, None
    except peer.Unavailable as reason:
        say(f"mkosi: skipped: {reason}")
        return None, str(reason)


def run_rounds(rounds, ours, mkosi):
    """All timed builds, by the name of their row, and the packages of each builder's image."""
    runs = {name: [] for name in report.ROWS}
    packages = {"ours": ours.packages()}
    if mkosi:
        say("mkosi: cold, once")
        runs["mkosi-cold"].append(mkosi.cold())
        packages["mkosi"] = mkosi.packages()
    for number in range(1, rounds + 1):
        say(f"round {number} of {rounds}: ours")
        for name in ("cold", "packed", "unpacked", "first_again", "second", "both"):
            runs[name].append(getattr(ours, name)())
        if mkosi:
            say(f"round {number} of {rounds}: mkosi")
            mkosi.remove_image()
            runs["mkosi-warm"].append(mkosi.warm())
    return {name: measure.Sample(tuple(taken)) for name, taken in runs.items() if taken}, packages


def machine(ours, mkosi, options) -> report.Facts:
    """What was measured, on what, when and by which command."""
    version = output([str(ours.builder), "--version"])
    commit = output(["git", "-C", str(PROJECT), "describe", "--always", "--dirty", "--abbrev=10"])
    system = platform.freedesktop_os_release().get("PRETTY_NAME", platform.system())
    command = ["builder/benches/image.py", *sys.argv[1:]]
    environment = " ".join(f"{name}=…" for name in ("BUILDER", "MKOSI_TOOLBOX")
                           if name in os.environ)
    return report.Facts(
        date=datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        command=f"{environment} {shlex.join(command)}".strip(),
        machine=f"{os.cpu_count()} cores, {system}, load {os.getloadavg()[0]:.1f} at the start",
        ours=f"{version}, commit {commit}",
        mkosi=mkosi and mkosi.version.removeprefix("mkosi "),
        rounds=options.rounds,
    )


def output(command) -> str:
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    return answer.stdout.strip() or "unknown"


def say(text):
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    try:
        main()
    except (measure.Failed, anatomy.Unreadable, subprocess.CalledProcessError) as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit(130)
