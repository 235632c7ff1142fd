-- needs: execution_strategies_v1, execution_quality_v1
CREATE OR REPLACE VIEW {database}.algorithm_costs AS
SELECT
    algorithm,
    rule,
    uniqExact(order_id) AS orders,
    avg(toFloat64(expected_cost_bps)) AS expected_bps,
    avg(toFloat64(actual_cost_bps)) AS realised_bps,
    median(toFloat64(actual_cost_bps)) AS median_realised_bps,
    avg(toFloat64(actual_cost_bps) - toFloat64(expected_cost_bps)) AS mean_error_bps,
    avg(toFloat64(fill_rate)) AS fill_rate
FROM {database}.strategy_selections
WHERE actual_cost_bps IS NOT NULL
GROUP BY algorithm, rule
