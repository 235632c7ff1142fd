-- needs: execution_quality_v1
CREATE OR REPLACE VIEW {database}.tca_by_strategy AS
SELECT
    strategy_id,
    algorithm,
    currency,
    count() AS orders,
    sum(toDecimal256(decision_price, 8) * ord_qty) AS decided_notional,
    sum(filled_qty > 0) AS orders_filled,
    avg(toFloat64(efficiency_metrics_fill_rate)) AS fill_rate,
    sum(costs_total_cost) AS total_cost,
    sum(costs_delay_cost) AS delay_cost,
    sum(costs_trading_cost) AS trading_cost,
    sum(costs_timing_cost) AS timing_cost,
    sum(costs_market_impact) AS market_impact,
    sum(costs_opportunity_cost) AS opportunity_cost,
    sum(costs_fees) AS fees,
    toFloat64(total_cost) / nullIf(toFloat64(decided_notional), 0) * 10000 AS shortfall_bps,
    median(toFloat64(implementation_shortfall_bps)) AS median_shortfall_bps
FROM
(
    SELECT *
    FROM {database}.execution_quality_v1
    ORDER BY revision DESC
    LIMIT 1 BY order_id
)
GROUP BY strategy_id, algorithm, currency
