-- Which dependencies were the slowest, and how did their calls end?
WITH measured AS (
    SELECT
        stage AS dependency,
        decision,
        reason,
        count(*) AS calls,
        quantile_disc(took_us, [0.50, 0.99]) AS percentiles,
        max(took_us) AS max_us,
        CAST(sum(took_us) AS BIGINT) AS all_us
    FROM decisions
    WHERE stage IN ('memory', 'model', 'tool')
    GROUP BY stage, decision, reason
)
SELECT
    dependency,
    decision,
    reason,
    calls,
    percentiles[1] AS p50_us,
    percentiles[2] AS p99_us,
    max_us,
    all_us
FROM measured
ORDER BY p99_us DESC, dependency, decision, reason
