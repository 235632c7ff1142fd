-- needs: execution_allocations_v1, execution_reports_v1, execution_orders_v1
CREATE OR REPLACE VIEW {database}.allocation_by_account AS
SELECT
    a.portfolio_id AS portfolio_id,
    assumeNotNull(a.account_id) AS account,
    toString(a.rule) AS rule,
    count() AS orders,
    sum(toFloat64(a.quantity) / nullIf(toFloat64(a.parent_qty), 0)) / count() AS mean_share,
    sum(toFloat64(a.order_value) * toFloat64(a.quantity) / nullIf(toFloat64(a.parent_qty), 0)) AS allocated_value,
    countIf(a.due_at > a.timestamp) AS delayed,
    sum(ifNull(f.fills, 0)) AS fills,
    sum(toFloat64(ifNull(f.filled, 0))) / nullIf(sum(toFloat64(a.quantity)), 0) AS fill_rate
FROM {database}.execution_allocations_v1 AS a
LEFT JOIN
(
    SELECT order_id, account_id, count() AS fills, sum(last_qty) AS filled
    FROM {database}.fills
    GROUP BY order_id, account_id
) AS f ON f.order_id = a.order_id AND f.account_id = a.account_id
WHERE a.account_id IS NOT NULL
GROUP BY portfolio_id, account, rule
