-- What happened beside the requests?
SELECT happened_at, event, name, CAST(detail AS VARCHAR) AS detail
FROM events
WHERE event <> 'queue'
ORDER BY at_ms, event, name, detail
