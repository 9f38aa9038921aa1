-- How long did each stage take, minute by minute?
WITH measured AS (
    SELECT
        date_trunc('minute', decided_at) AS minute,
        stage,
        count(*) AS decisions,
        quantile_disc(took_us, [0.50, 0.95, 0.99]) AS percentiles,
        max(took_us) AS max_us
    FROM decisions
    GROUP BY minute, stage
)
SELECT
    minute,
    stage,
    decisions,
    percentiles[1] AS p50_us,
    percentiles[2] AS p95_us,
    percentiles[3] AS p99_us,
    max_us
FROM measured
ORDER BY minute, stage
