-- Which settings and versions were others?
WITH before AS (
    SELECT 'setting' AS kind, name, value FROM base_settings
    UNION ALL
    SELECT 'version' AS kind, name, value FROM base_versions
),
after AS (
    SELECT 'setting' AS kind, name, value FROM settings
    UNION ALL
    SELECT 'version' AS kind, name, value FROM versions
)
SELECT
    coalesce(a.kind, b.kind) AS kind,
    coalesce(a.name, b.name) AS name,
    b.value AS base_value,
    a.value
FROM before AS b
FULL JOIN after AS a ON a.kind = b.kind AND a.name = b.name
WHERE a.value IS DISTINCT FROM b.value
ORDER BY kind, name
