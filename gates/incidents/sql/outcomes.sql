-- What became of the requests?
WITH measured AS (
    SELECT
        kind,
        method,
        route,
        outcome,
        status,
        count(*) AS requests,
        quantile_disc(took_us, [0.50, 0.99]) AS percentiles,
        max(took_us) AS max_us
    FROM requests
    GROUP BY kind, method, route, outcome, status
)
SELECT
    kind,
    method,
    route,
    outcome,
    status,
    requests,
    percentiles[1] AS p50_us,
    percentiles[2] AS p99_us,
    max_us
FROM measured
ORDER BY requests DESC, kind, method, route, outcome, status
