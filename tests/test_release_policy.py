"""What the release's policy says of the product is so."""

from pathlib import Path

import msgspec

from chaos.spec import yaml12
from service.settings import Settings

RELEASE = Path(__file__).parents[1] / "specs" / "release.yaml"


def test_the_defaults_that_gates_may_change_are_the_products_own() -> None:
    config = yaml12.load(RELEASE.read_text(encoding="utf-8"))["config"]
    settings = msgspec.to_builtins(Settings())
    assert config == {
        key: settings[section][name] for key in config for section, name in [key.split(".")]
    }
