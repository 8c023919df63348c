"""What the database holds, as a query whose result is columns like any other."""

#: Plain and partitioned tables outside the system's schemas; partitions count for their parent.
#: Rows are NULL where nobody ever counted them (-1 there), which says nothing of how many there
#: are.
TABLES_SQL = """
SELECT CASE WHEN n.nspname = 'public' THEN quote_ident(c.relname)
            ELSE quote_ident(n.nspname) || '.' || quote_ident(c.relname) END AS name,
       CASE WHEN c.reltuples >= 0 THEN c.reltuples END::int8 AS rows,
       pg_total_relation_size(c.oid) AS bytes
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition
  AND n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'ngb_ledger')
  AND has_table_privilege(c.oid, 'SELECT')
ORDER BY 1
"""
