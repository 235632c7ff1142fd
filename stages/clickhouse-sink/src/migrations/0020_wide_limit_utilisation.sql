-- needs: execution_limit_grants_v1, execution_validated_orders_v1
CREATE OR REPLACE VIEW {database}.wide_limit_utilisation AS
SELECT DISTINCT
    limit_id,
    timestamp,
    anyLast(said) OVER so_far AS max_gross_value,
    sum(leased_more) OVER so_far AS leased,
    sum(used_more) OVER so_far AS used,
    max_gross_value - leased AS headroom,
    currency
FROM
(
    SELECT
        limit_id,
        timestamp,
        currency,
        toNullable(max_gross_value) AS said,
        held - lagInFrame(held) OVER counts AS leased_more,
        toDecimal128(0, 8) AS used_more
    FROM (SELECT *, toDecimal128(granted - returned, 8) AS held FROM {database}.execution_limit_grants_v1)
    WINDOW counts AS
        (PARTITION BY limit_id, portfolio_id ORDER BY granted, returned ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)
    UNION ALL
    SELECT
        limit_id,
        timestamp,
        currency,
        NULL,
        toDecimal128(0, 8),
        worth - lagInFrame(worth) OVER verdicts
    FROM
    (
        SELECT
            substring(c.scope, 7) AS limit_id,
            timestamp,
            c.unit AS currency,
            portfolio_id,
            _offset,
            toDecimal128(assumeNotNull(c.figure), 8) AS worth
        FROM {database}.execution_validated_orders_v1
        ARRAY JOIN validation_results AS c
        WHERE is_approved AND startsWith(c.scope, 'limit/') AND c.figure IS NOT NULL
    )
    WINDOW verdicts AS
        (PARTITION BY limit_id, portfolio_id ORDER BY timestamp, _offset ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)
)
WINDOW so_far AS (PARTITION BY limit_id ORDER BY timestamp RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)
