-- needs: execution_reports_v1, execution_orders_v1
CREATE OR REPLACE VIEW {database}.fills AS
SELECT
    r.transact_at AS transact_at,
    r.order_id AS order_id,
    r.cl_ord_id AS cl_ord_id,
    r.broker AS broker,
    r.venue AS venue,
    r.exec_id AS exec_id,
    r.portfolio_id AS portfolio_id,
    r.account_id AS account_id,
    r.instrument_id AS instrument_id,
    o.strategy_id AS strategy_id,
    r.side AS side,
    if(r.side IN ('BUY', 'BUY_TO_COVER'), 1, -1) AS sign,
    assumeNotNull(r.last_qty) AS last_qty,
    assumeNotNull(r.last_px) AS last_px,
    toDecimal256(last_px, 8) * last_qty AS notional,
    r.fee AS fee,
    o.currency AS currency,
    r.liquidity AS liquidity,
    o.arrival_mid AS arrival_mid,
    sign * (toFloat64(last_px) / toFloat64(o.arrival_mid) - 1) * 10000 AS slippage_bps
FROM
(
    SELECT *
    FROM {database}.execution_reports_v1
    WHERE exec_type IN ('TRADE', 'TRADE_CORRECT')
        AND last_qty > 0
        AND (broker, exec_id) NOT IN
        (
            SELECT broker, assumeNotNull(ref_exec_id)
            FROM {database}.execution_reports_v1
            WHERE exec_type IN ('TRADE_CANCEL', 'TRADE_CORRECT') AND ref_exec_id IS NOT NULL
        )
    ORDER BY _partition, _offset
    LIMIT 1 BY broker, exec_id
) AS r
LEFT JOIN
(
    SELECT
        order_id,
        any(e.arrival_mid) AS arrival_mid,
        any(terms_strategy_id) AS strategy_id,
        any(terms_quote_currency) AS currency
    FROM {database}.execution_orders_v1 AS e
    WHERE event_type IN ('CREATED', 'RELEASED')
    GROUP BY order_id
) AS o ON o.order_id = r.order_id
