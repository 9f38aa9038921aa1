"""Start-up of the gateway: what must be true before its port opens."""

import random
import time
from collections.abc import Mapping
from functools import partial

import apsw

from service.audit.checkpoints import read_checkpoints
from service.audit.denied import DeniedAttempts
from service.audit.verify import AuditReport, verify_audit
from service.auth.bootstrap import adopt_bootstrap_tokens
from service.auth.registry import Registry
from service.control import Control
from service.dependencies import NAMES, open_dependencies
from service.errors import StartRefused, StateDamaged
from service.gateway.call import Services
from service.gateway.confirmations import expire_overdue
from service.gateway.idempotency import settle as settle_keys
from service.gateway.metrics import Metrics
from service.gateway.toolruns import settle_interrupted
from service.ids import NewId
from service.keys import new_secret
from service.settings import LOOPBACK, Listen, Settings, dependency_url


def check_exposure(settings: Settings, listen: Listen) -> None:
    """Refuse to serve without authentication where others could reach it."""
    if not settings.auth.enabled and listen.host not in LOOPBACK:
        raise StartRefused(f"auth is off and {listen.host} is not a loopback address")


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


def boot(control: Control, listen: Listen, environ: Mapping[str, str], new_id: NewId) -> Services:
    """Run every check of the gateway over an opened state directory. Raises StartRefused."""
    check_exposure(control.settings, listen)
    check_audit(control)
    adopt_bootstrap_tokens(control.storage, control.registry, control.keys, control.clock, new_id)
    check_operator(control.registry, control.clock.now_ms())
    expire_overdue(control.storage, control.clock.now_ms(), new_id)
    control.storage.do_now(partial(settle_keys, now_ms=control.clock.now_ms()))
    settle_interrupted(control.storage, control.clock.now_ms(), new_id)
    return Services(
        state=control.state,
        settings=control.settings,
        keys=control.keys,
        clock=control.clock,
        storage=control.storage,
        registry=control.registry,
        denied=DeniedAttempts(
            control.storage, control.clock, control.settings.auth.denied_audit_per_s
        ),
        dependencies=open_dependencies(
            {name: dependency_url(name, environ) for name in NAMES},
            control.keys.service_token,
            control.settings,
            time.monotonic,
            random.SystemRandom().random,
        ),
        metrics=Metrics(),
        new_id=new_id,
        new_secret=new_secret,
    )
