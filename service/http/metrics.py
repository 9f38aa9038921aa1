"""Counting answers, for `/metrics`."""

from collections import Counter
from collections.abc import Mapping


class Metrics:
    """Answers by status; everything else is read from where it is kept."""

    def __init__(self) -> None:
        self._answers: Counter[int] = Counter()

    def count(self, status: int) -> None:
        """Count one answer."""
        self._answers[status] += 1

    def render(self, values: Mapping[str, int]) -> str:
        """Render the answers and `values` in the Prometheus text format.

        A name that ends in `_total` is a counter, any other a gauge; names may carry labels, those of one name in a row.
        """
        lines = ["# TYPE sonia_http_answers_total counter"]
        lines += [
            f'sonia_http_answers_total{{status="{status}"}} {count}'
            for status, count in sorted(self._answers.items())
        ]
        typed = ""
        for series, value in values.items():
            name = series.partition("{")[0]
            if name != typed:
                lines.append(f"# TYPE {name} {'counter' if name.endswith('_total') else 'gauge'}")
                typed = name
            lines.append(f"{series} {value}")
        return "\n".join(lines) + "\n"
