-- Which dependencies were the slowest, and how did their calls end?
SELECT
    stage AS dependency,
    decision,
    reason,
    count(*) AS calls,
    percentile_disc(0.50) WITHIN GROUP (ORDER BY took_us) AS p50_us,
    percentile_disc(0.99) WITHIN GROUP (ORDER BY took_us) AS p99_us,
    max(took_us) AS max_us,
    CAST(sum(took_us) AS BIGINT) AS all_us
FROM decisions
WHERE stage IN ('memory', 'model', 'tool')
GROUP BY stage, decision, reason
ORDER BY p99_us DESC, dependency, decision, reason
