"""What must be true of a state directory before its gateway may serve; `sonia doctor` asks the same.

Apart from what builds the application, so that an answer does not have to wait for that to be imported.
"""

import apsw

from service.audit.checkpoints import read_checkpoints
from service.audit.verify import AuditReport, verify_audit
from service.auth.registry import Registry
from service.control import Control
from service.errors import StartRefused, StateDamaged
from service.processes import Listen
from service.settings import LOOPBACK, Settings


def check_exposure(settings: Settings, listen: Listen) -> None:
    """Refuse to serve without authentication where others could reach it, or where that is not said in so many words."""
    if not settings.auth.enabled and listen.host not in LOOPBACK:
        raise StartRefused(f"auth is off and {listen.host} is not a loopback address")
    if not settings.auth.enabled and not settings.auth.everybody_is_operator:
        raise StartRefused(
            "auth is off, so whoever reaches the port is an operator;"
            " auth.everybody_is_operator: true says that this is meant"
        )


def check_operator(registry: Registry, now_ms: int) -> None:
    """Refuse to serve when nobody could act: no operator token works at `now_ms`."""
    if "operator" not in registry.live_roles(now_ms):
        raise StartRefused("no operator token works; `sonia token issue --role operator` makes one")


def check_audit(control: Control) -> None:
    """Refuse to serve over an audit log that does not end as its last checkpoint says."""

    def check(connection: apsw.Connection) -> AuditReport:
        try:
            last = max(
                (each.seq for each in read_checkpoints(control.state.checkpoints)), default=0
            )
        except StateDamaged as damaged:
            raise StartRefused(str(damaged)) from damaged
        return verify_audit(
            connection, control.state.checkpoints, control.keys.audit_key_bytes(), last
        )

    report = control.storage.read(check)
    if not report.intact:
        raise StartRefused(
            f"the audit log was tampered with at row {report.first_bad_seq}: {report.reason}"
        )
