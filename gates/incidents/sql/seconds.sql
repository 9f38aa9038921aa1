-- What happened in each second?
SELECT
    date_trunc('second', began_at) AS second,
    count(*) AS requests,
    count(*) FILTER (WHERE outcome = 'completed') AS completed,
    count(*) FILTER (WHERE outcome = 'rejected') AS rejected,
    count(*) FILTER (WHERE outcome = 'shed') AS shed,
    count(*) FILTER (WHERE outcome = 'failed') AS failed,
    count(*) FILTER (WHERE outcome = 'unknown') AS unknown,
    percentile_disc(0.50) WITHIN GROUP (ORDER BY took_us) AS p50_us,
    percentile_disc(0.99) WITHIN GROUP (ORDER BY took_us) AS p99_us
FROM requests
GROUP BY second
ORDER BY second
