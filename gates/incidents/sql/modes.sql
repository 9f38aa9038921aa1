-- When was the service in degrade mode, and what became of requests meanwhile?
WITH changes AS (
    SELECT
        detail ->> '$.mode' AS mode,
        happened_at,
        row_number() OVER (ORDER BY at_ms) AS place,
        lead(happened_at) OVER (ORDER BY at_ms) AS next_at
    FROM events
    WHERE event = 'slo'
),
-- What was left first, without having been entered, was in force before.
windows AS (
    SELECT happened_at AS entered_at, next_at AS left_at FROM changes WHERE mode = 'degraded'
    UNION ALL
    SELECT NULL AS entered_at, happened_at AS left_at FROM changes WHERE mode = 'normal' AND place = 1
)
SELECT
    w.entered_at,
    w.left_at,
    count(r.request_id) AS requests,
    count(*) FILTER (WHERE r.outcome = 'completed') AS completed,
    count(*) FILTER (WHERE r.outcome IN ('shed', 'rejected')) AS refused,
    count(*) FILTER (WHERE r.outcome IN ('failed', 'unknown')) AS failed
FROM windows AS w
LEFT JOIN requests AS r
    ON (w.entered_at IS NULL OR r.began_at >= w.entered_at)
    AND (w.left_at IS NULL OR r.began_at < w.left_at)
GROUP BY w.entered_at, w.left_at
ORDER BY w.left_at NULLS LAST
