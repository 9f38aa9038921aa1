-- Who did what?
SELECT
    role,
    actor_id,
    method,
    route,
    count(*) AS requests,
    count(*) FILTER (WHERE outcome = 'completed') AS completed,
    count(*) FILTER (WHERE outcome = 'failed') AS failed,
    count(*) FILTER (WHERE outcome = 'unknown') AS unknown,
    count(*) FILTER (WHERE outcome IN ('shed', 'rejected')) AS refused,
    min(began_at) AS first_at,
    max(began_at) AS last_at
FROM requests
GROUP BY role, actor_id, method, route
ORDER BY requests DESC, role, actor_id, method, route
