-- Which requests were the slowest, and in which stage did they spend most of it?
WITH slow AS (
    SELECT request_id, began_at, route, outcome, took_us
    FROM requests
    ORDER BY took_us DESC, request_id
    LIMIT 20
),
stages AS (
    SELECT
        s.*,
        d.stage,
        d.decision,
        d.took_us AS stage_us,
        row_number() OVER (PARTITION BY s.request_id ORDER BY d.took_us DESC, d.n) AS place
    FROM slow AS s
    LEFT JOIN decisions AS d ON d.request_id = s.request_id
)
SELECT request_id, began_at, route, outcome, took_us, stage AS slowest_stage, decision, stage_us
FROM stages
WHERE place = 1
ORDER BY took_us DESC, request_id
