-- needs: execution_routing_plans_v1, execution_reports_v1, execution_orders_v1
CREATE OR REPLACE VIEW {database}.broker_costs AS
SELECT
    f.broker AS broker,
    f.currency AS currency,
    uniqExact(f.order_id) AS orders,
    count() AS fills,
    sum(f.notional) AS traded_notional,
    sum(ifNull(f.fee, 0)) AS fees_paid,
    toFloat64(fees_paid) / nullIf(toFloat64(traded_notional), 0) * 10000 AS fee_bps,
    avg(toFloat64(c.cost)) AS estimated_cost_bps,
    avg(f.slippage_bps) AS arrival_slippage_bps
FROM {database}.fills AS f
LEFT JOIN
(
    SELECT v.cl_ord_id AS cl_ord_id, any(k.cost) AS cost
    FROM {database}.execution_routing_plans_v1
    ARRAY JOIN venue_allocations AS v
    INNER JOIN
    (
        SELECT order_id, account_id, slice_no, c.broker AS broker, c.venue AS venue, c.cost AS cost
        FROM {database}.execution_routing_plans_v1
        ARRAY JOIN candidates AS c
    ) AS k ON k.order_id = order_id AND k.account_id = account_id AND k.slice_no = slice_no
        AND k.broker = v.broker AND k.venue = v.venue
    GROUP BY cl_ord_id
) AS c ON c.cl_ord_id = f.cl_ord_id
GROUP BY broker, currency
SETTINGS join_use_nulls = 1
