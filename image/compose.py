"""Composes a root by an allow-list out of a staging tree that apt has filled.

Nothing is ever deleted from the staging tree: a root begins empty and takes the files that are
named, the targets of their links and the libraries that they need. Used by the finalize scripts of
the host image and of the example jails; runs in mkosi's tools tree.
"""

import os
import re
import shutil
import struct
import sys
from pathlib import Path

# The last is the run path of systemd's programs (varlinkctl in the debug image).
LIBRARY_DIRECTORIES = (
    "usr/lib/x86_64-linux-gnu",
    "usr/lib64",
    "usr/lib",
    "usr/lib/x86_64-linux-gnu/systemd",
)
MERGED = re.compile(r"^(bin|sbin|lib|lib64)(?=/|$)")
PT_LOAD, PT_DYNAMIC, PT_INTERP = 1, 2, 3
DT_NEEDED, DT_STRTAB = 1, 5


def lines(path: Path) -> list[str]:
    """The lines of a list file, without comments and empty ones."""
    stripped = (line.strip() for line in path.read_text().splitlines())
    return [line for line in stripped if line and not line.startswith("#")]


def is_elf(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) == b"\x7fELF"


def needed(path: Path) -> list[str]:
    """The loader (a path) and the libraries (names) that an ELF file asks for (elf(5))."""
    data = path.read_bytes()
    (offset,) = struct.unpack_from("<Q", data, 32)
    size, count = struct.unpack_from("<HH", data, 54)
    segments = [struct.unpack_from("<IIQQQQ", data, offset + size * i) for i in range(count)]

    def string(at: int) -> str:
        return data[at : data.index(b"\0", at)].decode()

    names = [string(at) for kind, _, at, *_ in segments if kind == PT_INTERP]
    libraries, strings = [], 0
    for kind, _, at, _, _, length in segments:
        if kind == PT_DYNAMIC:
            for tag, value in struct.iter_unpack("<QQ", data[at : at + length]):
                if tag == DT_NEEDED:
                    libraries.append(value)
                elif tag == DT_STRTAB:
                    strings = value
    for kind, _, at, address, _, length in segments:
        if kind == PT_LOAD and address <= strings < address + length:
            names += [string(at + strings - address + library) for library in libraries]
    return names


class Root:
    """A root that is being composed out of `staging`; `owners` has what dpkg knows about the latter."""

    def __init__(self, staging: Path, root: Path) -> None:
        self.staging = staging
        self.root = root
        self.used: set[str] = set()
        self.owners: dict[str, str] = {}
        for info in sorted((staging / "var/lib/dpkg/info").glob("*.list")):
            package = info.stem.partition(":")[0]
            for file in info.read_text().splitlines():
                self.owners.setdefault(self.merged(file), package)
        root.mkdir()
        (root / "usr").mkdir()
        for name in ("bin", "sbin", "lib", "lib64"):
            (root / "usr" / name).mkdir()
            (root / name).symlink_to(f"usr/{name}")

    @staticmethod
    def merged(file: str) -> str:
        """A path without its leading slash, below usr/ where Debian links to it."""
        return MERGED.sub(r"usr/\1", file.lstrip("/"))

    def take_list(self, allowed: Path) -> None:
        """Each line: a package and the pattern of those of its files that are wanted."""
        for line in lines(allowed):
            package, _, pattern = line.partition(" ")
            wanted = re.compile(pattern.strip())
            # A file made by a package's own set-up is not in dpkg's list: then the pattern is the path.
            literal = self.merged(re.sub(r"[\^$\\]", "", pattern.strip()))
            found = [f for f, owner in self.owners.items() if owner == package and wanted.search("/" + f)]
            if not found and (self.staging / literal).is_file():
                self.owners[literal] = package
                found = [literal]
            if not found:
                sys.exit(f"{allowed.name}: no file of {package} matches {pattern}")
            for file in found:
                self.take(file)

    def take(self, file: str) -> None:
        """A file, the target of a link, and the libraries that they need."""
        file = self.merged(file)
        source, target = self.staging / file, self.root / file
        if target.is_symlink() or target.exists() or (source.is_dir() and not source.is_symlink()):
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source, target, follow_symlinks=False)
        self.used.add(self.owners.get(file, "?"))
        if source.is_symlink():
            self.take(os.path.normpath(os.path.join("/", os.path.dirname(file), os.readlink(source))))
        elif is_elf(source):
            self.take_libraries(file)
            if ".so" in target.name and not target.name.startswith("ld-"):
                target.chmod(0o644)

    def take_libraries(self, file: str) -> None:
        for library in needed(self.staging / file):
            if library.startswith("/"):
                self.take(library)
                continue
            # Some bring libraries of their own beside them (`$ORIGIN` in their run path).
            here = os.path.dirname(file)
            beside = (here, os.path.normpath(f"{here}/../lib"), f"{here}/server")
            for directory in (*LIBRARY_DIRECTORIES, *beside):
                if (self.staging / directory / library).exists():
                    self.take(f"{directory}/{library}")
                    break
            else:
                sys.exit(f"{file} needs {library}, which is not in the staging tree")

    def add_tree(self, tree: Path) -> None:
        """Own files, over what was taken."""
        shutil.copytree(tree, self.root, symlinks=True, dirs_exist_ok=True)

    def take_tree(self, path: str, owner: int) -> None:
        """A directory of the staging tree with all that is in it, its modes kept, owned by `owner`."""
        target = self.root / path
        shutil.copytree(self.staging / path, target, symlinks=True)
        for entry in [target, *target.rglob("*")]:
            os.chown(entry, owner, owner, follow_symlinks=False)

    def directories(self, names: list[str], mode: int = 0o755, owner: int = 0) -> None:
        for name in names:
            path = self.root / name
            path.mkdir(parents=True, exist_ok=True)
            path.chmod(mode)
            os.chown(path, owner, owner)

    def executables(self) -> list[str]:
        """Every regular file with an execute bit."""
        files = (f for f in self.root.rglob("*") if f.is_file() and not f.is_symlink())
        return sorted("/" + str(f.relative_to(self.root)) for f in files if f.stat().st_mode & 0o111)

    def versions(self) -> list[str]:
        """`package version`, for each package that contributed a file."""
        status = (self.staging / "var/lib/dpkg/status").read_text()
        installed = dict(re.findall(r"^Package: (\S+)$(?:\n.+)*?\nVersion: (\S+)$", status, re.MULTILINE))
        return [f"{package} {installed[package]}" for package in sorted(self.used)]

    def listing(self) -> list[str]:
        """`path size` of each file."""
        files = sorted(f for f in self.root.rglob("*") if f.is_file() and not f.is_symlink())
        return [f"/{f.relative_to(self.root)} {f.stat().st_size}" for f in files]
