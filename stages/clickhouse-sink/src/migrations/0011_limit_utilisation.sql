-- needs: execution_validated_orders_v1
CREATE OR REPLACE VIEW {database}.limit_utilisation AS
SELECT
    timestamp,
    portfolio_id,
    instrument_id,
    order_id,
    is_approved,
    c.name AS check_name,
    c.scope AS scope,
    assumeNotNull(c.figure) AS figure,
    assumeNotNull(c.limit) AS check_limit,
    c.unit AS unit,
    c.version AS version,
    c.passed AS passed,
    toFloat64(c.figure) / nullIf(toFloat64(c.limit), 0) AS utilisation
FROM {database}.execution_validated_orders_v1
ARRAY JOIN validation_results AS c
WHERE c.figure IS NOT NULL AND c.limit IS NOT NULL
