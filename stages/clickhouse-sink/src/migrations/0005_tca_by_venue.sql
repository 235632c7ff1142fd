-- needs: execution_reports_v1, execution_orders_v1
CREATE OR REPLACE VIEW {database}.tca_by_venue AS
SELECT
    venue,
    currency,
    count() AS fills,
    uniqExact(order_id) AS orders,
    sum(f.notional) AS notional,
    sum(f.fee) AS fees,
    sumIf(slippage_bps * toFloat64(f.notional), slippage_bps IS NOT NULL)
        / nullIf(sumIf(toFloat64(f.notional), slippage_bps IS NOT NULL), 0) AS arrival_slippage_bps,
    toFloat64(fees) / nullIf(toFloat64(notional), 0) * 10000 AS fee_bps,
    countIf(liquidity = 'MAKER') / fills AS maker_share
FROM {database}.fills AS f
GROUP BY venue, currency
