"""The gateway's side of TLS: a certificate and its key, taken up before the port opens. Where they are set, nothing else is spoken."""

import ssl
from pathlib import Path
from typing import Final

from service.errors import StartRefused
from service.settings import TlsSettings
from service.trust import check_private

_REMEDY: Final = (
    "http.tls in sonia.yaml names a certificate with its chain and the key of it, both PEM"
)


def open_tls(state: Path, settings: TlsSettings) -> ssl.SSLContext | None:
    """Read the pair that `settings` names, from the state directory unless a path says otherwise; None where there is none.

    Raises StartRefused for files that cannot be read, that are no pair, or whose key others can read.
    """
    if settings.certificate is None or settings.key is None:
        return None
    certificate, key = state / settings.certificate, state / settings.key
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        check_private(key.name, key.stat())
        context.load_cert_chain(certificate, key, _no_password)
    except (OSError, ValueError) as wrong:
        raise StartRefused(
            f"{settings.certificate} with {settings.key}: {wrong}", _REMEDY
        ) from wrong
    return context


def _no_password() -> str:
    # Otherwise OpenSSL would ask whoever sits at the terminal.
    raise ValueError("the key is encrypted, and nobody is there to ask for its password")
