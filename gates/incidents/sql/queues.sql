-- How many waited, in each second in which anybody did?
SELECT
    date_trunc('second', happened_at) AS second,
    max(CASE WHEN name = 'stream' THEN CAST(detail ->> '$.depth' AS BIGINT) END) AS stream,
    max(CASE WHEN name = 'tool' THEN CAST(detail ->> '$.depth' AS BIGINT) END) AS tool,
    max(CASE WHEN name = 'model' THEN CAST(detail ->> '$.depth' AS BIGINT) END) AS model
FROM events
WHERE event = 'queue'
GROUP BY second
ORDER BY second
