-- needs: execution_strategies_v1, execution_quality_v1
CREATE OR REPLACE VIEW {database}.strategy_performance AS
SELECT
    strategy_name,
    toDate(created_at) AS execution_date,
    uniqExact(order_id) AS orders_executed,
    avg(toFloat64(actual_cost_bps)) AS avg_cost_bps,
    avg(toFloat64(expected_cost_bps)) AS avg_expected_cost_bps,
    avg(actual_impact_bps) AS avg_market_impact_bps,
    avg(toFloat64(fill_rate) = 1) AS success_rate,
    avg(toFloat64(performance_score)) AS avg_score
FROM {database}.strategy_selections
WHERE actual_cost_bps IS NOT NULL
GROUP BY strategy_name, execution_date
