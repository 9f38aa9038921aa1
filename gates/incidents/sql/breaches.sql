-- When did more turns miss the objective than it allows?
WITH objective AS (
    SELECT
        max(CASE WHEN name = 'slo.threshold_ms' THEN CAST(value AS DOUBLE) * 1000 END) AS most_us,
        1 - max(CASE WHEN name = 'slo.quantile' THEN CAST(value AS DOUBLE) END) AS may_miss
    FROM settings
),
-- What its caller did wrong is no turn; what was not served has missed the objective.
turns AS (
    SELECT
        CAST(floor(began_ms / 1000) AS BIGINT) AS number,
        date_trunc('second', began_at) AS second,
        CASE WHEN outcome = 'completed' AND took_us <= o.most_us THEN 0 ELSE 1 END AS missed,
        o.may_miss
    FROM requests
    CROSS JOIN objective AS o
    WHERE (route = '/v1/turn' OR kind = 'frame') AND (outcome <> 'rejected' OR status IN (429, 503))
),
seconds AS (
    SELECT number, second, count(*) AS turns, sum(missed) AS missed
    FROM turns
    GROUP BY number, second, may_miss
    HAVING sum(missed) > may_miss * count(*)
),
-- Seconds in a row are as far from their place among all.
windows AS (
    SELECT *, number - row_number() OVER (ORDER BY number) AS in_a_row FROM seconds
)
SELECT
    min(second) AS first_second,
    max(second) AS last_second,
    count(*) AS seconds,
    CAST(sum(turns) AS BIGINT) AS turns,
    CAST(sum(missed) AS BIGINT) AS missed
FROM windows
GROUP BY in_a_row
ORDER BY first_second
