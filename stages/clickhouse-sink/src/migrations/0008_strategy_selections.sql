-- needs: execution_strategies_v1, execution_quality_v1
CREATE OR REPLACE VIEW {database}.strategy_selections AS
SELECT
    s.event_id AS id,
    s.order_id AS order_id,
    s.instrument_id AS instrument_id,
    s.recommended_strategy_strategy_name AS strategy_name,
    s.requested AS requested,
    s.selected AS selected,
    s.used AS algorithm,
    s.rule AS rule,
    s.strategy_rationale AS selection_rationale,
    s.order_value AS order_value,
    s.expected_outcomes_estimated_cost AS expected_cost_bps,
    s.expected_outcomes_market_impact AS expected_impact_bps,
    s.expected_outcomes_estimated_time_minutes AS expected_minutes,
    s.expected_outcomes_completion_probability AS completion_probability,
    q.implementation_shortfall_bps AS actual_cost_bps,
    toFloat64(q.costs_market_impact) / nullIf(toFloat64(q.decision_price) * toFloat64(q.ord_qty), 0) * 10000
        AS actual_impact_bps,
    q.efficiency_metrics_fill_rate AS fill_rate,
    dateDiff('second', s.starts_at, q.interval_end) / 60 AS actual_minutes,
    q.overall_quality_score AS performance_score,
    s.timestamp AS created_at
FROM {database}.execution_strategies_v1 AS s
LEFT JOIN
(
    SELECT *
    FROM {database}.execution_quality_v1
    ORDER BY revision DESC
    LIMIT 1 BY order_id
) AS q ON q.order_id = s.order_id
WHERE s.revision <= 1
SETTINGS join_use_nulls = 1
