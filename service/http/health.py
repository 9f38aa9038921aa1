"""What anybody may ask: is it alive, is it ready, which version is it."""

import msgspec
from litestar import route

from service import SONIA_CONTRACT, SONIA_VERSION
from service.http.guards import PUBLIC
from service.http.routing import READ


class Health(msgspec.Struct, frozen=True):
    """The process answers."""

    status: str


class Version(msgspec.Struct, frozen=True):
    """The release, and the public contract it keeps."""

    version: str
    contract: str


@route("/healthz", http_method=READ, opt=PUBLIC, sync_to_thread=False)
def healthz() -> Health:
    """Say that the gateway answers."""
    return Health("ok")


@route("/v1/version", http_method=READ, opt=PUBLIC, sync_to_thread=False)
def version() -> Version:
    """Say which release this is."""
    return Version(SONIA_VERSION, SONIA_CONTRACT)


HANDLERS = [healthz, version]
