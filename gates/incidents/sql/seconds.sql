-- What happened in each second?
WITH measured AS (
    SELECT
        date_trunc('second', began_at) AS second,
        count(*) AS requests,
        count(*) FILTER (WHERE outcome = 'completed') AS completed,
        count(*) FILTER (WHERE outcome = 'rejected') AS rejected,
        count(*) FILTER (WHERE outcome = 'shed') AS shed,
        count(*) FILTER (WHERE outcome = 'failed') AS failed,
        count(*) FILTER (WHERE outcome = 'unknown') AS unknown,
        quantile_disc(took_us, [0.50, 0.99]) AS percentiles
    FROM requests
    GROUP BY second
)
SELECT
    second,
    requests,
    completed,
    rejected,
    shed,
    failed,
    unknown,
    percentiles[1] AS p50_us,
    percentiles[2] AS p99_us
FROM measured
ORDER BY second
