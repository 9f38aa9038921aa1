"""No secret is in a bundle, however it is spelt."""

import base64
import json
from collections.abc import Callable
from urllib.parse import quote

import pytest

from service.ids import random_id
from service.incidents.redaction import REDACTED, Redaction
from service.keys import new_secret

KEY = "a4" * 32
SPELLINGS: dict[str, Callable[[str], str]] = {
    "raw": str,
    "inside": lambda secret: f"say {secret}, please",
    "in JSON": lambda secret: json.dumps({"a": [secret]}),
    "escaped": lambda secret: "".join(f"\\u{ord(each):04x}" for each in secret),
    "partly escaped": lambda secret: secret.replace("_", "\\u005f"),
    "base64": lambda secret: base64.b64encode(secret.encode()).decode(),
    "base64 of more": lambda secret: base64.b64encode(f"to{secret}ken".encode()).decode(),
    "base64url": lambda secret: base64.urlsafe_b64encode(f"?>{secret}".encode()).decode().rstrip("="),
    "percent": lambda secret: "".join(f"%{ord(each):02X}" for each in secret),
    "percent of base64": lambda secret: quote(base64.b64encode(secret.encode()).decode(), safe=""),
    "base64 of JSON": lambda secret: base64.b64encode(json.dumps({"t": secret}).encode()).decode(),
    "in a query": lambda secret: f"/a?token={quote(secret)}&b=c",
    "header": lambda secret: f"Authorization: Bearer {secret}",
}  # fmt: skip


@pytest.mark.parametrize("spelling", SPELLINGS.values(), ids=SPELLINGS)
@pytest.mark.parametrize("token", [True, False], ids=["token", "key"])
def test_secrets_are_replaced_in_every_spelling(
    spelling: Callable[[str], str], token: bool
) -> None:
    secret = f"tok_0123456789abcdef.{new_secret()}" if token else KEY
    spelt = spelling(secret)
    cleaned = json.dumps(Redaction([KEY]).clean({"a": [spelt, {spelt: 1}], "b": "kept"}))
    assert spelt not in cleaned
    assert REDACTED in cleaned
    assert '"kept"' in cleaned
    assert secret.rpartition(".")[2] not in cleaned


def test_what_is_no_secret_stays_as_it_is() -> None:
    harmless = [
        random_id("req"), "f" * 64, "tok_0123456789abcdef", "a long text without anything in it, " * 9,
        "100 % of it\\n", base64.b64encode(b"a long text in another spelling, harmless").decode(), "", 1, None, True, 1.5,
    ]  # fmt: skip
    assert Redaction([KEY]).clean(harmless) == harmless
