-- needs: execution_audit_v1
CREATE OR REPLACE VIEW {database}.audit_trail AS
SELECT
    portfolio_id,
    sequence,
    timestamp,
    order_id,
    revision,
    action,
    actor,
    command_id,
    reason_code,
    reason_text,
    evidence,
    lower(hex(hash)) AS entry_hash,
    toBool(
        prev_hash = if(sequence = 1, repeat(char(0), 32), lagInFrame(hash) OVER chain)
        AND sequence = lagInFrame(sequence) OVER chain + 1
    ) AS follows
FROM {database}.execution_audit_v1
WINDOW chain AS (PARTITION BY portfolio_id ORDER BY sequence ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)
