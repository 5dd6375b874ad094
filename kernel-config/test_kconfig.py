"""The check refuses what it is there to refuse. kernel-config/check runs it first."""

import tempfile
import unittest
from pathlib import Path

import kconfig


def fragment(text: str) -> Path:
    file = Path(tempfile.mkdtemp()) / "00-test.config"
    file.write_text(text)
    return file


class Fragments(unittest.TestCase):
    def refused(self, text: str, why: str) -> None:
        with self.assertRaises(SystemExit) as error:
            kconfig.read_fragments([fragment(text)])
        self.assertIn(why, str(error.exception))

    def test_options_are_read(self) -> None:
        file = fragment('# about\n\nCONFIG_A=y # x\nCONFIG_B="b c" # x\nCONFIG_C=0x10 # x\nCONFIG_D=n # x\n')
        self.assertEqual(
            kconfig.read_fragments([file]), {"CONFIG_A": "y", "CONFIG_B": '"b c"', "CONFIG_C": "0x10", "CONFIG_D": "n"}
        )

    def test_an_option_without_a_reason_is_refused(self) -> None:
        self.refused("CONFIG_A=y\n", "00-test.config:1: not of the form")
        self.refused("CONFIG_A=y #\n", "00-test.config:1: not of the form")

    def test_a_module_cannot_be_requested(self) -> None:
        self.refused("CONFIG_A=m # x\n", "00-test.config:1: not of the form")

    def test_an_option_that_stands_twice_is_refused(self) -> None:
        self.refused("CONFIG_A=y # x\nCONFIG_A=y # x\n", "00-test.config:2: CONFIG_A stands in another line, too")


class Checks(unittest.TestCase):
    def test_an_option_that_kconfig_dropped_is_lost(self) -> None:
        wanted = {"CONFIG_A": "y", "CONFIG_B": "n", "CONFIG_C": "y"}
        lost = kconfig.lost(wanted, {"CONFIG_A": "y", "CONFIG_B": "y"})
        self.assertEqual(lost, ["CONFIG_B: n requested, y found", "CONFIG_C: y requested, n found"])

    def test_a_difference_to_the_defaults_is_named(self) -> None:
        found = kconfig.reviewed({"CONFIG_A": "y", "CONFIG_B": "1"}, {"CONFIG_B": "2", "CONFIG_CC_IS_GCC": "y"})
        self.assertEqual(found, ["CONFIG_A y default=n", "CONFIG_B 1 default=2"])

    def test_an_unreviewed_difference_is_an_error(self) -> None:
        known = (kconfig.HERE / "reviewed/vm.txt").read_text().splitlines()
        self.assertEqual(kconfig.check_reviewed("vm", known), [])
        new = "CONFIG_X y default=n"
        self.assertIn(f"new difference to the defaults: {new}", kconfig.check_reviewed("vm", [*known, new]))
        self.assertIn(f"difference to the defaults is gone: {known[0]}", kconfig.check_reviewed("vm", known[1:]))

    def test_a_recommendation_that_is_not_kept_is_an_error(self) -> None:
        errors, kept, excepted = kconfig.hardening("vm", {})
        self.assertIn("hardening: config SECCOMP should be y, found n", errors)
        self.assertEqual(kept + excepted, len(kconfig.table()))

    def test_an_exception_that_is_none_is_an_error(self) -> None:
        errors, _, _ = kconfig.hardening("vm", {"CONFIG_WERROR": "y"})
        self.assertIn("hardening.tsv: config WERROR is y: the exception for vm is no longer true", errors)

    def test_lockdown_is_one_of_a_list(self) -> None:
        self.assertTrue(kconfig.fits("config", "LSM", "lockdown", '"landlock,lockdown"'))
        self.assertFalse(kconfig.fits("config", "LSM", "lock", '"landlock,lockdown"'))


if __name__ == "__main__":
    unittest.main()
