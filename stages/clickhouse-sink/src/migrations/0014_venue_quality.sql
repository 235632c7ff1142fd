-- needs: execution_routing_plans_v1, execution_reports_v1, execution_orders_v1
CREATE OR REPLACE VIEW {database}.venue_quality AS
SELECT
    r.venue AS venue,
    r.broker AS broker,
    count() AS children,
    sum(r.quantity) AS routed,
    avg(toFloat64(r.share)) AS mean_share,
    sum(toFloat64(ifNull(f.filled, 0))) / nullIf(toFloat64(routed), 0) AS fill_rate,
    avg(f.slippage) AS arrival_slippage_bps,
    countIf(r.cl_ord_id IN (SELECT cl_ord_id FROM {database}.execution_reports_v1 WHERE exec_type = 'REJECTED')) AS rejected
FROM
(
    SELECT v.venue AS venue, v.broker AS broker, v.cl_ord_id AS cl_ord_id, v.quantity AS quantity, v.percentage AS share
    FROM {database}.execution_routing_plans_v1
    ARRAY JOIN venue_allocations AS v
) AS r
LEFT JOIN
(
    SELECT cl_ord_id, sum(last_qty) AS filled, avg(slippage_bps) AS slippage
    FROM {database}.fills
    GROUP BY cl_ord_id
) AS f ON f.cl_ord_id = r.cl_ord_id
GROUP BY venue, broker
SETTINGS join_use_nulls = 1
