"""What can go wrong between the gateway and the processes behind it.

DependencyError
├── DependencyUnavailable        no usable answer; nothing is known to have happened
│   ├── MemoryUnavailable        a turn is answered without memories (degraded, never 5xx)
│   ├── ModelUnavailable         a turn is answered by the built-in fallback (degraded, never 5xx)
│   └── ToolsUnavailable         503 with Retry-After: the call was not sent
├── MemoryRefused                it was asked, and will never do this: asking again does not help
└── ToolOutcomeUnknown           504: the call was sent and its answer lost, so it may have run
"""


class DependencyError(Exception):
    """Base of all; `reason` is one sentence without secrets."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class DependencyUnavailable(DependencyError):
    """The dependency could not be asked, or its answer cannot be used."""


class MemoryUnavailable(DependencyUnavailable):
    """The memory process gave no usable answer in time."""


class MemoryRefused(DependencyError):
    """The memory process said no: other content has the key, or it is none that it takes."""


class ModelUnavailable(DependencyUnavailable):
    """The model process gave no usable answer in time."""


class ToolsUnavailable(DependencyUnavailable):
    """The tools process was not asked; the tool certainly did not run."""


class ToolOutcomeUnknown(DependencyError):
    """The tools process was asked and no usable answer came back; the tool may have run."""
