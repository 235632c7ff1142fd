-- needs: execution_allocations_v1
CREATE OR REPLACE VIEW {database}.block_shares AS
SELECT
    a.order_id AS order_id,
    a.portfolio_id AS portfolio_id,
    a.instrument_id AS instrument_id,
    a.side AS side,
    a.statement_no AS statement_no,
    a.timestamp AS stated_at,
    s.account_id AS account,
    s.quantity AS due_qty,
    s.filled_qty AS filled_qty,
    a.avg_px AS avg_px,
    s.filled_notional AS filled_notional,
    s.fees AS fees,
    a.fee_currency AS fee_currency
FROM
(
    SELECT * FROM {database}.execution_allocations_v1
    WHERE kind = 'STATEMENT'
    ORDER BY statement_no DESC
    LIMIT 1 BY order_id
) AS a
ARRAY JOIN a.block_shares AS s
