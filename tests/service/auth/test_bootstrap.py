"""What the key file says of bootstrap tokens, compared with what the database knows of them."""

import msgspec

from service.auth.bootstrap import compare
from service.control import Control
from service.keys import load_keys
from tests.service.auth.actions import NOW, Actions
from tests.service.running import State


def test_the_key_file_ends_bootstrap_tokens_and_revives_none(
    state: State, control: Control
) -> None:
    listed = load_keys(state.directory.keys).tokens
    storage = control.storage
    assert storage.read(lambda c: compare(listed, c, NOW)).adopt == ()
    gone = storage.read(lambda c: compare(listed[:1], c, NOW))
    assert gone.revoke == (listed[1].id,)
    shortened = tuple(msgspec.structs.replace(token, expires_at_ms=5) for token in listed)
    assert storage.read(lambda c: compare(shortened, c, NOW)).shorten == shortened
    actions = Actions(control)
    actions.revoke(listed[0].id, NOW)
    after = storage.read(lambda c: compare(listed, c, NOW))
    assert (after.adopt, after.shorten, after.revoke) == ((), (), ())
    # Who is over already is not ended again, in the file or not.
    assert storage.read(lambda c: compare(listed[1:], c, NOW)).revoke == ()
