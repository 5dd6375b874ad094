#!/usr/bin/python3
"""Reads the fragments and checks a kernel configuration against them.

usage: kconfig.py options FRAGMENT...
       kconfig.py check PROFILE CONFIG DEFCONFIG FRAGMENT...
       kconfig.py count CONFIG...
"""

import os
import re
import sys
from pathlib import Path

HERE = Path(__file__).parent
LINE = re.compile(r'^(CONFIG_\w+)=(y|n|-?\d+|0x[0-9a-fA-F]+|"[^"]*")\s+# (\S.*)$')
# They say which tools were there, which the key of the cache does as well.
TOOLS = re.compile(r"^CONFIG_(CC|GCC|AS|LD|LLD|RUSTC|CLANG|PAHOLE|TOOLS|CAN)_")


def read_fragments(files: list[Path]) -> dict[str, str]:
    """The options of all fragments; one that stands twice, or has no reason, is an error."""
    options: dict[str, str] = {}
    errors = []
    for file in files:
        for number, line in enumerate(file.read_text().splitlines(), 1):
            where = f"{file.name}:{number}"
            if not line.strip() or line.startswith("#"):
                continue
            match = LINE.match(line)
            if not match:
                errors.append(f"{where}: not of the form CONFIG_NAME=VALUE  # reason: {line}")
            elif match[1] in options:
                errors.append(f"{where}: {match[1]} stands in another line, too")
            else:
                options[match[1]] = match[2]
    if errors:
        sys.exit("\n".join(errors))
    return options


def read_config(file: Path) -> dict[str, str]:
    """A .config; what is not set is not in it."""
    pairs = (line.split("=", 1) for line in file.read_text().splitlines() if line.startswith("CONFIG_"))
    return {name: value for name, value in pairs}


def lost(options: dict[str, str], config: dict[str, str]) -> list[str]:
    """Requested, but Kconfig decided otherwise: a dependency is missing, or the option is gone."""
    return [
        f"{name}: {value} requested, {config.get(name, 'n')} found"
        for name, value in options.items()
        if config.get(name, "n") != value
    ]


def reviewed(config: dict[str, str], defaults: dict[str, str]) -> list[str]:
    """What the same fragments give when the start is the kernel's defaults instead of nothing."""
    names = sorted(config.keys() | defaults.keys())
    pairs = ((name, config.get(name, "n"), defaults.get(name, "n")) for name in names if not TOOLS.match(name))
    return [f"{name} {ours} default={default}" for name, ours, default in pairs if ours != default]


def check_reviewed(profile: str, found: list[str]) -> list[str]:
    file = HERE / "reviewed" / f"{profile}.txt"
    if os.environ.get("UPDATE"):
        file.parent.mkdir(exist_ok=True)
        file.write_text("\n".join(found) + "\n")
    known = set(file.read_text().splitlines()) if file.exists() else set()
    remedy = f"review it, then: UPDATE=1 make kernel-check (it writes {file.relative_to(HERE.parent)})"
    errors = [f"new difference to the defaults: {line}" for line in found if line not in known]
    errors += [f"difference to the defaults is gone: {line}" for line in sorted(known - set(found))]
    return errors + ([remedy] if errors else [])


def settings() -> dict[str, dict[str, str]]:
    """What the product sets beside the configuration: the words of the command line, the sysctls."""
    command_line = re.search(r"^KernelCommandLine=\n((?:    .*\n)+)", (HERE / "../image/mkosi.conf").read_text(), re.M)
    words = command_line[1].split() if command_line else []
    sysctls = (HERE / "../image/root/usr/lib/warder/sysctl.conf").read_text().splitlines()
    pairs = (line.partition("=") for line in sysctls if line and not line.startswith("#"))
    return {
        "cmdline": {word.partition("=")[0]: word.partition("=")[2] or "y" for word in words},
        "sysctl": {name.strip(): value.strip() for name, _, value in pairs},
    }


def table() -> list[tuple[str, str, str, str, str]]:
    """kind, name, recommended value, profiles that deviate, their reason."""
    rows = []
    for line in (HERE / "hardening.tsv").read_text().splitlines():
        if line and not line.startswith("#"):
            columns = line.split("\t")
            if len(columns) not in (3, 5):
                sys.exit(f"hardening.tsv: three or five columns are expected: {line}")
            rows.append((*columns, "", "")[:5])
    return rows


def fits(kind: str, name: str, wanted: str, got: str) -> bool:
    """LSM is a list, of which a member is wanted."""
    return wanted in got.strip('"').split(",") if (kind, name) == ("config", "LSM") else got == wanted


def hardening(profile: str, config: dict[str, str]) -> tuple[list[str], int, int]:
    """Errors, and how many recommendations are kept and deliberately not kept."""
    found = {"config": {name.removeprefix("CONFIG_"): value for name, value in config.items()}, **settings()}
    errors, kept, excepted = [], 0, 0
    for kind, name, wanted, profiles, reason in table():
        got = found[kind].get(name, "n")
        good, exception = fits(kind, name, wanted, got), profile in profiles.split(",")
        if good and exception:
            errors.append(f"hardening.tsv: {kind} {name} is {got}: the exception for {profile} is no longer true")
        elif not good and not exception:
            errors.append(f"hardening: {kind} {name} should be {wanted}, found {got}")
        elif not good and not reason:
            errors.append(f"hardening.tsv: {kind} {name}: an exception needs a reason")
        kept, excepted = kept + good, excepted + (not good)
    return errors, kept, excepted


def check(profile: str, config_file: Path, defconfig: Path, fragments: list[Path]) -> None:
    options, config = read_fragments(fragments), read_config(config_file)
    errors = lost(options, config)
    errors += [f"{name} is a module" for name, value in config.items() if value == "m"]
    errors += check_reviewed(profile, reviewed(config, read_config(defconfig)))
    wrong, kept, excepted = hardening(profile, config)
    errors += wrong
    on = sum(value == "y" for value in config.values())
    print(
        f"{profile}: {len(options)} options requested, {len(lost(options, config))} lost, {on} on; "
        f"hardening: {kept} of {kept + excepted} recommendations, {excepted} exceptions with reasons"
    )
    if errors:
        sys.exit("\n".join(f"  {error}" for error in errors))


def count(config_file: Path) -> None:
    """Only the configuration's rows: what can be said of other people's kernels."""
    found = {name.removeprefix("CONFIG_"): value for name, value in read_config(config_file).items()}
    rows = [(name, wanted) for kind, name, wanted, *_ in table() if kind == "config"]
    kept = sum(fits("config", name, wanted, found.get(name, "n")) for name, wanted in rows)
    print(f"{config_file}: {kept} of {len(rows)}")


def main() -> None:
    match sys.argv[1:]:
        case ["options", *files] if files:
            print("\n".join(f"{name}={value}" for name, value in read_fragments([Path(f) for f in files]).items()))
        case ["check", profile, config, defconfig, *files] if files:
            check(profile, Path(config), Path(defconfig), [Path(f) for f in files])
        case ["count", *files] if files:
            for file in files:
                count(Path(file))
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main()
