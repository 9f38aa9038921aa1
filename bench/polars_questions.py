"""The questions of `bench.incidents` as somebody would write them for polars. Imported only where polars is."""

from collections.abc import Callable, Mapping
from typing import Any, Final, cast

import polars as pl

from gates.incidents.analysis import Row
from gates.incidents.bundle import Bundle


def stages(bundle: Bundle) -> list[Row]:
    """How long each stage took, minute by minute."""
    return _rows(
        _table(bundle, "decisions")
        .group_by(_moment("at_ms").dt.truncate("1m").alias("minute"), "stage")
        .agg(pl.len(), *(_percentile(part) for part in (0.5, 0.95, 0.99)), pl.max("took_us"))
        .sort("minute", "stage")
    )


def dependencies(bundle: Bundle) -> list[Row]:
    """Which dependencies were the slowest, and how their calls ended."""
    return _rows(
        _table(bundle, "decisions")
        .filter(pl.col("stage").is_in(["memory", "model", "tool"]))
        .group_by("stage", "decision", "reason")
        .agg(
            pl.len(),
            *(_percentile(part) for part in (0.5, 0.99)),
            pl.max("took_us").alias("max"),
            pl.sum("took_us").alias("sum"),
        )
        .sort("p0.99", "stage", "decision", "reason", descending=[True, False, False, False])
    )


def outcomes(bundle: Bundle) -> list[Row]:
    """What became of the requests."""
    keys = ["kind", "method", "route", "outcome", "status"]
    return _rows(
        _table(bundle, "requests")
        .group_by(keys)
        .agg(pl.len(), *(_percentile(part) for part in (0.5, 0.99)), pl.max("took_us"))
        .sort("len", *keys, descending=[True, *(False for _ in keys)])
    )


def actors(bundle: Bundle) -> list[Row]:
    """Who did what."""
    keys = ["role", "actor_id", "method", "route"]
    began = _moment("began_ms")
    return _rows(
        _table(bundle, "requests")
        .group_by(keys)
        .agg(
            pl.len(),
            *(
                (pl.col("outcome") == outcome).sum().alias(outcome)
                for outcome in ("completed", "failed", "unknown")
            ),
            pl.col("outcome").is_in(["shed", "rejected"]).sum().alias("refused"),
            began.min().alias("first_at"),
            began.max().alias("last_at"),
        )
        .sort("len", *keys, descending=[True, *(False for _ in keys)])
    )


def refusals(bundle: Bundle) -> list[Row]:
    """What was shed or refused, when, by which stage, and why."""
    refused = (
        _table(bundle, "requests")
        .filter(pl.col("outcome").is_in(["shed", "rejected"]))
        .select(
            "request_id",
            _moment("began_ms").dt.truncate("1m").alias("minute"),
            "queue",
            "route",
            "outcome",
        )
    )
    lasts = (
        _table(bundle, "decisions")
        .filter(pl.col("stage") != "outcome")
        .join(refused.select("request_id"), on="request_id", how="semi")
        .group_by("request_id")
        .agg(pl.col("stage", "decision", "reason").sort_by("n").last())
    )
    keys = ["minute", "queue", "route", "outcome", "stage", "decision", "reason"]
    order = ["minute", "len", *keys[1:]]
    return _rows(
        refused.join(lasts, on="request_id", how="left")
        .group_by(keys)
        .agg(pl.len())
        .sort(order, descending=[name == "len" for name in order], nulls_last=True)
    )


def slowest(bundle: Bundle) -> list[Row]:
    """Which requests were the slowest, and in which stage they spent most of it."""
    slow = (
        _table(bundle, "requests")
        .select("request_id", _moment("began_ms").alias("began_at"), "route", "outcome", "took_us")
        .sort("took_us", "request_id", descending=[True, False])
        .head(20)
    )
    stages = (
        _table(bundle, "decisions")
        .select("request_id", "n", "stage", "decision", pl.col("took_us").alias("stage_us"))
        .join(slow.select("request_id"), on="request_id", how="semi")
        .sort("stage_us", "n", descending=[True, False])
        .group_by("request_id", maintain_order=True)
        .first()
        .drop("n")
    )
    return _rows(
        slow.join(stages, on="request_id", how="left").sort(
            "took_us", "request_id", descending=[True, False]
        )
    )


QUESTIONS: Final[Mapping[str, Callable[[Bundle], list[Row]]]] = {
    "actors": actors,
    "dependencies": dependencies,
    "outcomes": outcomes,
    "refusals": refusals,
    "slowest": slowest,
    "stages": stages,
}


def _table(bundle: Bundle, table: str) -> Any:
    return pl.scan_parquet(bundle.sources[table])


def _moment(column: str) -> Any:
    return pl.from_epoch((pl.col(column) * 1000 + 0.5).floor().cast(pl.Int64), "us")


def _percentile(part: float) -> Any:
    """The smallest value that so many are not above, as `percentile_disc` has it."""
    return pl.col("took_us").quantile(part, "equiprobable").cast(pl.Int64).alias(f"p{part}")


def _rows(frame: Any) -> list[Row]:
    return cast("list[Row]", frame.collect().rows())
