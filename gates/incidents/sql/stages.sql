-- How long did each stage take, minute by minute?
SELECT
    date_trunc('minute', decided_at) AS minute,
    stage,
    count(*) AS decisions,
    percentile_disc(0.50) WITHIN GROUP (ORDER BY took_us) AS p50_us,
    percentile_disc(0.95) WITHIN GROUP (ORDER BY took_us) AS p95_us,
    percentile_disc(0.99) WITHIN GROUP (ORDER BY took_us) AS p99_us,
    max(took_us) AS max_us
FROM decisions
GROUP BY minute, stage
ORDER BY minute, stage
