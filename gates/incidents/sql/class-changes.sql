-- Which trace classes came, went, or changed their share of the requests?
WITH before AS (
    SELECT trace_class, count(*) AS requests, min(request_id) AS example
    FROM base_requests
    GROUP BY trace_class
),
after AS (
    SELECT trace_class, count(*) AS requests, min(request_id) AS example
    FROM requests
    GROUP BY trace_class
),
totals AS (
    SELECT
        (SELECT count(*) FROM base_requests) AS base_total,
        (SELECT count(*) FROM requests) AS total
)
SELECT
    coalesce(a.trace_class, b.trace_class) AS trace_class,
    coalesce(b.requests, 0) AS base_requests,
    coalesce(a.requests, 0) AS requests,
    round(100.0 * coalesce(b.requests, 0) / nullif(t.base_total, 0), 2) AS base_percent,
    round(100.0 * coalesce(a.requests, 0) / nullif(t.total, 0), 2) AS percent,
    b.example AS base_example,
    a.example AS example
FROM before AS b
FULL JOIN after AS a ON a.trace_class = b.trace_class
CROSS JOIN totals AS t
WHERE coalesce(a.requests, 0) * t.base_total <> coalesce(b.requests, 0) * t.total
ORDER BY requests DESC, base_requests DESC, trace_class
