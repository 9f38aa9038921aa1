"""The systemd unit that is shipped: what it takes away from SONIA."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from service.settings import StorageSettings

UNIT = Path(__file__).parents[2] / "docs" / "sonia.service"
MOST_EXPOSED = 3.0
ON = {
    "LockPersonality",
    "NoNewPrivileges",
    "PrivateDevices",
    "PrivateTmp",
    "ProtectClock",
    "ProtectControlGroups",
    "ProtectHome",
    "ProtectHostname",
    "ProtectKernelLogs",
    "ProtectKernelModules",
    "ProtectKernelTunables",
    "RemoveIPC",
    "RestrictNamespaces",
    "RestrictRealtime",
    "RestrictSUIDSGID",
}


def directives() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    section = ""
    for line in UNIT.read_text().splitlines():
        if line.startswith("["):
            section = line
        elif section == "[Service]" and re.match(r"\w+=", line):
            name, _, value = line.partition("=")
            found.setdefault(name, []).append(value)
    return found


def test_it_takes_away_what_sonia_does_not_need() -> None:
    service = directives()
    assert {name for name in ON if service.get(name) != ["true"]} == set()
    assert service["KillMode"] == ["mixed"]
    assert service["CapabilityBoundingSet"] == [""]
    assert service["ProtectSystem"] == ["strict"]
    assert service["RestartPreventExitStatus"] == ["78"]
    assert service["OOMPolicy"] == ["continue"]
    assert (service["Type"], service["NotifyAccess"]) == (["notify"], ["main"])
    assert int(service["WatchdogSec"][0]) > 4 * StorageSettings().busy_timeout_s
    assert {"TasksMax", "MemoryMax", "LimitNOFILE"} <= service.keys()


def test_commands_can_be_confined_under_it() -> None:
    """In this order: a later line adds to what an earlier one left."""
    allowed, taken, added = directives()["SystemCallFilter"]
    assert (allowed, taken[0]) == ("@system-service", "~")
    assert set(added.split()) >= {"capset", "seccomp", "landlock_restrict_self"}


def test_systemd_finds_it_little_exposed() -> None:
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("systemd-analyze is not there")
    ran = subprocess.run(
        [program, "security", "--offline=yes", "--no-pager", str(UNIT)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    found = re.search(r"exposure level for sonia\.service: ([0-9.]+)", ran.stdout)
    if found is None:
        pytest.skip(f"this systemd-analyze judges no files: {ran.stderr.strip()}")
    assert float(found[1]) <= MOST_EXPOSED
