-- Which stages became slower or faster?
WITH before AS (
    SELECT
        stage,
        count(*) AS decisions,
        percentile_disc(0.50) WITHIN GROUP (ORDER BY took_us) AS p50_us,
        percentile_disc(0.99) WITHIN GROUP (ORDER BY took_us) AS p99_us
    FROM base_decisions
    GROUP BY stage
),
after AS (
    SELECT
        stage,
        count(*) AS decisions,
        percentile_disc(0.50) WITHIN GROUP (ORDER BY took_us) AS p50_us,
        percentile_disc(0.99) WITHIN GROUP (ORDER BY took_us) AS p99_us
    FROM decisions
    GROUP BY stage
)
SELECT
    coalesce(a.stage, b.stage) AS stage,
    b.decisions AS base_decisions,
    a.decisions,
    b.p50_us AS base_p50_us,
    a.p50_us,
    b.p99_us AS base_p99_us,
    a.p99_us,
    a.p99_us - b.p99_us AS p99_change_us
FROM before AS b
FULL JOIN after AS a ON a.stage = b.stage
ORDER BY p99_change_us DESC NULLS LAST, stage
