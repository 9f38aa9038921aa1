-- What was shed or refused, when, by which stage, and why?
WITH refused AS (
    SELECT request_id, date_trunc('minute', began_at) AS minute, queue, route, outcome
    FROM requests
    WHERE outcome IN ('shed', 'rejected')
),
-- The stage before the outcome is the one that did it.
lasts AS (
    SELECT d.request_id, max(d.n) AS n
    FROM decisions AS d
    JOIN refused AS r ON r.request_id = d.request_id
    WHERE d.stage <> 'outcome'
    GROUP BY d.request_id
)
SELECT r.minute, r.queue, r.route, r.outcome, d.stage, d.decision, d.reason, count(*) AS requests
FROM refused AS r
LEFT JOIN lasts AS l ON l.request_id = r.request_id
LEFT JOIN decisions AS d ON d.request_id = l.request_id AND d.n = l.n
GROUP BY r.minute, r.queue, r.route, r.outcome, d.stage, d.decision, d.reason
ORDER BY r.minute, requests DESC, r.queue, r.route, r.outcome, d.stage, d.decision, d.reason
