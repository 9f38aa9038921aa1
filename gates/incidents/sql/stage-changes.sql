-- Which stages became slower or faster?
WITH before AS (
    SELECT stage, count(*) AS decisions, quantile_disc(took_us, [0.50, 0.99]) AS percentiles
    FROM base_decisions
    GROUP BY stage
),
after AS (
    SELECT stage, count(*) AS decisions, quantile_disc(took_us, [0.50, 0.99]) AS percentiles
    FROM decisions
    GROUP BY stage
)
SELECT
    coalesce(a.stage, b.stage) AS stage,
    b.decisions AS base_decisions,
    a.decisions,
    b.percentiles[1] AS base_p50_us,
    a.percentiles[1] AS p50_us,
    b.percentiles[2] AS base_p99_us,
    a.percentiles[2] AS p99_us,
    a.percentiles[2] - b.percentiles[2] AS p99_change_us
FROM before AS b
FULL JOIN after AS a ON a.stage = b.stage
ORDER BY p99_change_us DESC NULLS LAST, stage
