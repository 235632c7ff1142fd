-- needs: execution_validated_orders_v1, execution_risk_alerts_v1
CREATE OR REPLACE VIEW {database}.risk_rejections AS
SELECT
    timestamp,
    'PARENT' AS level,
    order_id,
    CAST(NULL AS Nullable(String)) AS cl_ord_id,
    portfolio_id,
    instrument_id,
    c.code AS code,
    c.name AS check_name,
    c.figure AS figure,
    c.limit AS check_limit,
    c.unit AS unit,
    c.scope AS scope
FROM {database}.execution_validated_orders_v1
ARRAY JOIN validation_results AS c
WHERE NOT is_approved AND NOT c.passed
UNION ALL
SELECT
    timestamp,
    'CHILD' AS level,
    order_id,
    cl_ord_id,
    portfolio_id,
    instrument_id,
    code,
    text AS check_name,
    CAST(NULL AS Nullable(Decimal(28, 8))) AS figure,
    CAST(NULL AS Nullable(Decimal(28, 8))) AS check_limit,
    '' AS unit,
    '' AS scope
FROM {database}.execution_risk_alerts_v1
WHERE alert_type = 'CHILD_REJECTED'
