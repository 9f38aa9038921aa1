-- What became of the requests of each route, then and now?
WITH before AS (
    SELECT method, route, outcome, count(*) AS requests
    FROM base_requests
    GROUP BY method, route, outcome
),
after AS (
    SELECT method, route, outcome, count(*) AS requests
    FROM requests
    GROUP BY method, route, outcome
)
SELECT
    coalesce(a.method, b.method) AS method,
    coalesce(a.route, b.route) AS route,
    coalesce(a.outcome, b.outcome) AS outcome,
    coalesce(b.requests, 0) AS base_requests,
    coalesce(a.requests, 0) AS requests
FROM before AS b
FULL JOIN after AS a
    ON coalesce(a.method, '') = coalesce(b.method, '')
    AND coalesce(a.route, '') = coalesce(b.route, '')
    AND a.outcome = b.outcome
WHERE coalesce(a.requests, 0) <> coalesce(b.requests, 0)
ORDER BY route, method, outcome
