"""What must be true of a state directory before its gateway may serve; `sonia doctor` asks the same.

Apart from what builds the application, so that an answer does not have to wait for that to be imported.
"""

from service.errors import StartRefused
from service.processes import Listen
from service.settings import EVERY_ORIGIN, LOOPBACK, Settings


def check_exposure(settings: Settings, listen: Listen) -> None:
    """Refuse to serve without authentication where others could reach it, or where that is not said in so many words."""
    if not settings.auth.enabled and listen.host not in LOOPBACK:
        raise StartRefused(
            f"auth is off and {listen.host} is not a loopback address",
            "switch it on, or set SONIA_GATEWAY_HOST to 127.0.0.1",
        )
    if not settings.auth.enabled and EVERY_ORIGIN in settings.http.cors.origins:
        raise StartRefused(
            "auth is off and http.cors lets everybody's pages read",
            "switch it on, or name the origins",
        )
    if not settings.auth.enabled and not settings.auth.everybody_is_operator:
        raise StartRefused(
            "auth is off, so whoever reaches the port is an operator",
            "auth.everybody_is_operator: true says that this is meant",
        )


def check_operator(live_roles: set[str]) -> None:
    """Refuse to serve when nobody could act: no operator token is among those that work."""
    if "operator" not in live_roles:
        raise StartRefused(
            "no operator token works", "`sonia token issue --role operator` makes one"
        )
