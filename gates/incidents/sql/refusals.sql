-- What was shed or refused, when, by which stage, and why?
WITH refused AS (
    SELECT request_id, date_trunc('minute', began_at) AS minute, queue, route, outcome
    FROM requests
    WHERE outcome IN ('shed', 'rejected')
),
-- The stage before the outcome is the one that did it.
lasts AS (
    SELECT
        d.request_id,
        arg_max(d.stage, d.n) AS stage,
        arg_max(d.decision, d.n) AS decision,
        arg_max(d.reason, d.n) AS reason
    FROM decisions AS d
    JOIN refused AS r ON r.request_id = d.request_id
    WHERE d.stage <> 'outcome'
    GROUP BY d.request_id
)
SELECT r.minute, r.queue, r.route, r.outcome, l.stage, l.decision, l.reason, count(*) AS requests
FROM refused AS r
LEFT JOIN lasts AS l ON l.request_id = r.request_id
GROUP BY r.minute, r.queue, r.route, r.outcome, l.stage, l.decision, l.reason
ORDER BY r.minute, requests DESC, r.queue, r.route, r.outcome, l.stage, l.decision, l.reason
