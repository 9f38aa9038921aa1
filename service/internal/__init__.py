"""What the processes behind the gateway have in common: their checks, their application, how it is run."""

from service.internal.app import InternalApp, internal_app
from service.internal.runner import serve
from service.internal.start import Checked, check_start

__all__ = ["Checked", "InternalApp", "check_start", "internal_app", "serve"]
