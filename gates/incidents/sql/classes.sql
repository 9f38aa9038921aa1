-- Which trace classes were there, and what was decided in each?
WITH classes AS (
    SELECT trace_class, count(*) AS requests, min(request_id) AS example
    FROM requests
    GROUP BY trace_class
)
SELECT
    c.trace_class,
    c.requests,
    c.example,
    string_agg(
        CASE
            WHEN d.reason = '' THEN concat(d.stage, ' ', d.decision)
            ELSE concat(d.stage, ' ', d.decision, ' (', d.reason, ')')
        END,
        ', ' ORDER BY d.n
    ) AS decided
FROM classes AS c
LEFT JOIN decisions AS d ON d.request_id = c.example
GROUP BY c.trace_class, c.requests, c.example
ORDER BY c.requests DESC, c.trace_class
