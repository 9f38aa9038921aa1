-- What became of the requests?
SELECT
    kind,
    method,
    route,
    outcome,
    status,
    count(*) AS requests,
    percentile_disc(0.50) WITHIN GROUP (ORDER BY took_us) AS p50_us,
    percentile_disc(0.99) WITHIN GROUP (ORDER BY took_us) AS p99_us,
    max(took_us) AS max_us
FROM requests
GROUP BY kind, method, route, outcome, status
ORDER BY requests DESC, kind, method, route, outcome, status
