-- At which stage did each request first decide otherwise than in the base?
WITH other AS (
    SELECT r.request_id, r.began_ms, r.route
    FROM requests AS r
    JOIN base_requests AS b ON b.request_id = r.request_id
    WHERE r.trace_class <> b.trace_class
),
before AS (
    SELECT d.* FROM base_decisions AS d JOIN other AS o ON o.request_id = d.request_id
),
after AS (
    SELECT d.* FROM decisions AS d JOIN other AS o ON o.request_id = d.request_id
),
differing AS (
    SELECT
        coalesce(a.request_id, b.request_id) AS request_id,
        coalesce(a.n, b.n) AS n,
        b.stage AS base_stage,
        b.decision AS base_decision,
        b.reason AS base_reason,
        a.stage,
        a.decision,
        a.reason
    FROM before AS b
    FULL JOIN after AS a ON a.request_id = b.request_id AND a.n = b.n
    WHERE
        a.stage IS DISTINCT FROM b.stage
        OR a.decision IS DISTINCT FROM b.decision
        OR a.reason IS DISTINCT FROM b.reason
),
firsts AS (
    SELECT *, row_number() OVER (PARTITION BY request_id ORDER BY n) AS place FROM differing
)
SELECT
    f.request_id,
    o.route,
    f.n,
    f.base_stage,
    f.base_decision,
    f.base_reason,
    f.stage,
    f.decision,
    f.reason
FROM firsts AS f
JOIN other AS o ON o.request_id = f.request_id
WHERE f.place = 1
ORDER BY o.began_ms, f.request_id
