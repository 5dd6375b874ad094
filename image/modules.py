"""Chooses kernel modules: those that are named and those that they depend on, in an order that loads."""

import lzma
import re
import sys
from pathlib import Path


def name_of(path: str) -> str:
    """kernel/drivers/md/dm-mod.ko.xz is the module dm_mod."""
    return Path(path).name.partition(".")[0].replace("-", "_")


class Modules:
    """The modules of one kernel version (modules.dep(5))."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.needs: dict[str, list[str]] = {}
        for line in (directory / "modules.dep").read_text().splitlines():
            path, _, needs = line.partition(":")
            self.needs[path] = needs.split()
        self.by_name = {name_of(path): path for path in self.needs}
        builtin = (directory / "modules.builtin").read_text().split()
        self.builtin = {name_of(path) for path in builtin}

    def closure(self, names: list[str]) -> list[str]:
        """The paths of the named modules, each after those that it needs. An unknown name is an error."""
        order: list[str] = []

        def add(path: str) -> None:
            # depmod writes all needs, transitively, the first to be loaded last.
            for need in reversed(self.needs[path]):
                add(need)
            if path not in order:
                order.append(path)

        for name in names:
            if name in self.by_name:
                add(self.by_name[name])
            elif name not in self.builtin:
                sys.exit(f"the kernel in {self.directory} has no module {name}")
        return order

    def unpack(self, path: str, target: Path) -> None:
        """Uncompressed: the file systems compress by themselves, and unpacking xz costs seconds at boot."""
        target.parent.mkdir(parents=True, exist_ok=True)
        data = (self.directory / path).read_bytes()
        target.write_bytes(lzma.decompress(data) if path.endswith(".xz") else data)

    def install(self, names: list[str], root: Path) -> list[str]:
        """The modules and a modules.dep of just those below `root`; their names in an order that loads."""
        chosen = self.closure(names)
        plain = {path: re.sub(r"\.xz$", "", path) for path in chosen}
        for path in chosen:
            self.unpack(path, root / plain[path])
        depends = [f"{plain[p]}: {' '.join(plain[n] for n in self.needs[p])}".rstrip() for p in sorted(chosen)]
        (root / "modules.dep").write_text("\n".join(depends) + "\n")
        return [name_of(path) for path in chosen]
