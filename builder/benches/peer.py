"""Builds the peer: an image of the same packages by mkosi, with a UKI and dm-verity like ours.

mkosi is taken from PATH, or from the root folder of a Debian that has it (README.md says how to
make one). Such a toolbox is entered by pivot_root in a mount namespace of its own, because the
kernel grants no user namespace to a process in a mere chroot, and mkosi wants one. Nothing that is
mounted there outlives the command.
"""

import json
import os
import re
import shutil
import subprocess
import tomllib
from dataclasses import dataclass
from pathlib import Path

import measure

# Older ones lack settings that are used below.
OLDEST = 25
# Beside what the overlays ask for: what any bootable image by mkosi needs.
BOOT_PACKAGES = ["systemd", "systemd-sysv", "systemd-boot", "systemd-boot-efi", "udev", "dbus"]
FIRST_USER_ID, LAST_USER_ID = 1000, 59999
# Where the folder of the run appears in the toolbox.
INSIDE = Path("/work")
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"

# $1 toolbox, $2 folder of the run, $3 where that appears, $4 user, then the command.
ENTER = r"""
set -e
root=$1 run=$2 inside=$3 user=$4
shift 4
mount --bind "$root" "$root"
for name in proc sys dev; do mount --rbind "/$name" "$root/$name"; done
mount -t tmpfs -o mode=1777 run "$root/run"
mkdir -p "$root$inside" "$root/run/before"
mount --bind "$run" "$root$inside"
for name in resolv.conf hosts; do
    [ -e "$root/etc/$name" ] || : > "$root/etc/$name"
    mount --bind "/etc/$name" "$root/etc/$name"
done
cd "$root"
pivot_root . run/before
umount --lazy /run/before
cd "$inside"
exec setpriv --reuid "$user" --regid "$user" --clear-groups "$@"
"""

CONFIG = """\
[Distribution]
Distribution=debian
Release={release}

[Output]
Format=disk
Output=peer
Seed=6b7a4f3e-8f3b-4f0e-9d1c-2a5b8c7d6e5f

[Build]
SandboxTrees=sandbox
PackageCacheDirectory=packages
WorkspaceDirectory=workspace
BuildSources=
Environment=SOURCE_DATE_EPOCH=1700000000

[Content]
Packages={packages}
Bootable=yes
Bootloader=systemd-boot
UnifiedKernelImages=yes
WithDocs=no
Locale=C.UTF-8
RemoveFiles=/usr/share/locale
KernelCommandLine=console=ttyS0

[Validation]
Verity={verity}
VerityKey=verity.key
VerityCertificate=verity.crt
"""

# Minimize=best is refused for a file system that can be written to, so sizes are given.
PARTITIONS = {
    "00-esp": "Type=esp\nFormat=vfat\nCopyFiles=/boot:/\nCopyFiles=/efi:/\n"
              "SizeMinBytes=256M\nSizeMaxBytes=256M\n",
    "10-root": "Type=root\nFormat=ext4\nCopyFiles=/\nVerity=data\nVerityMatchKey=root\n"
               "SizeMinBytes=900M\nSizeMaxBytes=900M\n",
    "20-hash": "Type=root-verity\nVerity=hash\nVerityMatchKey=root\n"
               "SizeMinBytes=16M\nSizeMaxBytes=16M\n",
    "30-signature": "Type=root-verity-sig\nVerity=signature\nVerityMatchKey=root\n",
}


class Unavailable(Exception):
    """mkosi can't be run here, and why."""


@dataclass(frozen=True)
class Mkosi:
    """How to start mkosi."""

    prefix: tuple
    directory: Path
    user: int
    version: str

    def command(self, *arguments):
        return [*self.prefix, *arguments]

    def prepare(self, definition, packages, mirrors):
        """Writes the configuration and makes a key to sign the root hash with."""
        folder = self.directory
        suites = definition["debian"]["suites"]
        # mkosi 26 renamed the setting's values, but takes a boolean as 25 does.
        text = CONFIG.format(release=suites[0], packages=",".join(packages), verity="yes")
        write(folder / "mkosi.conf", text)
        for name, body in PARTITIONS.items():
            write(folder / f"mkosi.repart/{name}.conf", f"[Partition]\n{body}")
        sources = folder / "sandbox/etc/apt/sources.list.d/mkosi.sources"
        write(sources, "\n".join(sources_for(suites, mirrors)))
        for name in ("packages", "workspace"):
            (folder / name).mkdir()
        if os.geteuid() == 0 and self.user != 0:
            for path in [folder, *folder.rglob("*")]:
                os.chown(path, self.user, self.user)
        key = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30",
               "-subj", "/CN=bench", "-keyout", "verity.key", "-out", "verity.crt"]
        measure.measure(self.command(*key), folder / "key.log", directory=folder)

    def build(self, *options):
        log = self.directory / "mkosi.log"
        return measure.measure(
            self.command("mkosi", "--force", *options, "build"), log, directory=self.directory)

    def cold(self):
        """With nothing cached; this run alone also lists the packages."""
        return self.build("--manifest-format=json")

    def warm(self):
        return self.build("--cache-only=always")

    def packages(self):
        """Versions by name, as the list of the image that is there says."""
        manifest = json.loads((self.directory / "peer.manifest").read_text())
        return {package["name"]: package["version"] for package in manifest["packages"]}

    def image(self):
        return self.directory / "peer.raw"

    def remove_image(self):
        for path in self.directory.glob("peer*"):
            path.unlink()


def find(toolbox, directory: Path) -> Mkosi:
    """mkosi from PATH or from the toolbox, checked by asking its version."""
    directory.mkdir()
    reason = "no mkosi in PATH"
    if shutil.which("mkosi"):
        own = Mkosi((), directory, os.geteuid(), "")
        version = ask_version(own)
        if major(version) >= OLDEST:
            return Mkosi((), directory, os.geteuid(), version)
        reason = f"{version} in PATH is older than {OLDEST}"
    if not toolbox:
        raise Unavailable(f"{reason}, and MKOSI_TOOLBOX names no toolbox: see README.md")
    root = Path(toolbox).resolve()
    if not (root / "usr/bin/mkosi").exists():
        raise Unavailable(f"{reason}, nor in the toolbox {toolbox}: see README.md")
    if os.geteuid() != 0:
        raise Unavailable("only root can enter the toolbox; mkosi itself then runs without")
    user = toolbox_user(root)
    os.chown(directory, user, user)
    prefix = ("unshare", "--mount", "--propagation", "private", "env", "-i",
              "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/tmp", "LANG=C.UTF-8", *proxies(),
              "sh", "-c", ENTER, "enter", str(root), str(directory), str(INSIDE), str(user))
    version = ask_version(Mkosi(prefix, directory, user, ""))
    if major(version) < OLDEST:
        raise Unavailable(f"{version} in the toolbox is older than {OLDEST}")
    return Mkosi(prefix, directory, user, version)


def toolbox_user(root: Path) -> int:
    """A user who has a range of further user ids, without which owners can't be kept apart."""
    ranges = {line.split(":")[0] for line in (root / "etc/subuid").read_text().splitlines()}
    for line in (root / "etc/passwd").read_text().splitlines():
        name, _, number = line.split(":")[:3]
        if name in ranges and FIRST_USER_ID <= int(number) <= LAST_USER_ID:
            return int(number)
    raise Unavailable(f"no user in {root}/etc/subuid: make the toolbox as README.md says")


def proxies():
    names = ["http_proxy", "https_proxy", "no_proxy"]
    return [f"{name}={os.environ[name]}" for name in names if name in os.environ]


def ask_version(mkosi: Mkosi) -> str:
    answer = subprocess.run(mkosi.command("mkosi", "--version"), cwd=mkosi.directory,
                            capture_output=True, text=True, check=False)
    if answer.returncode != 0:
        raise Unavailable(f"it does not start: {answer.stderr.strip()}")
    return answer.stdout.strip()


def major(version: str) -> int:
    found = re.search(r"\d+", version)
    return int(found.group()) if found else 0


def packages_of(project: Path, definition) -> list:
    """The packages that our image takes files from, as its definition and overlays name them."""
    names, wanted, seen = [definition["kernel"]["package"]], list(definition["overlays"]), set()
    while wanted:
        overlay = wanted.pop()
        if overlay in seen:
            continue
        seen.add(overlay)
        with open(project / "overlays" / overlay / "overlay.toml", "rb") as file:
            manifest = tomllib.load(file)
        names += [package["name"] for package in manifest.get("packages", [])]
        wanted += manifest.get("needs", [])
    return sorted({*names, *BOOT_PACKAGES})


def host_mirrors() -> list:
    """The Debian mirrors that the host's own apt uses, as (label, address)."""
    answer = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(LABEL)|$(REPO_URI)", "Created-By: Packages"],
        capture_output=True, text=True, check=False)
    pairs = [line.split("|", 1) for line in answer.stdout.splitlines() if "|" in line]
    return list(dict.fromkeys((label, url) for label, url in pairs if label.startswith("Debian")))


def sources_for(suites, mirrors):
    """The same suites as ours: a security suite from the security mirror, others from the main."""
    for suite in suites:
        label = "Debian-Security" if suite.endswith("-security") else "Debian"
        address = next((url for name, url in mirrors if name == label), None)
        if address is None:
            raise Unavailable(f"the host's apt sources name no {label} mirror for {suite}")
        yield (f"Types: deb\nURIs: {address}\nSuites: {suite}\nComponents: main\n"
               f"Signed-By: {KEYRING}\n")


def write(path: Path, text: str):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
