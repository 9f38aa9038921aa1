-- When was the service in degrade mode, and what became of requests meanwhile?
WITH changes AS (
    SELECT name AS mode, happened_at, lead(happened_at) OVER (ORDER BY at_ms, name) AS until
    FROM events
    WHERE event = 'slo' AND name IN ('normal', 'degraded')
)
SELECT
    c.happened_at AS entered_at,
    c.until AS left_at,
    count(r.request_id) AS requests,
    count(*) FILTER (WHERE r.outcome = 'completed') AS completed,
    count(*) FILTER (WHERE r.outcome IN ('shed', 'rejected')) AS refused,
    count(*) FILTER (WHERE r.outcome IN ('failed', 'unknown')) AS failed
FROM changes AS c
LEFT JOIN requests AS r
    ON r.began_at >= c.happened_at AND (c.until IS NULL OR r.began_at < c.until)
WHERE c.mode = 'degraded'
GROUP BY c.happened_at, c.until
ORDER BY entered_at
