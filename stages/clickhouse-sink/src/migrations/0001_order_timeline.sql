-- needs: execution_orders_v1
CREATE OR REPLACE VIEW {database}.order_timeline AS
SELECT
    timestamp,
    order_id,
    revision,
    event_type,
    status,
    portfolio_id,
    instrument_id,
    side,
    concat(
        event_type,
        if(event_type = 'CREATED', concat(' ', side, ' ', toString(ord_qty), ' ', instrument_id, ' ', ifNull(terms_ord_type, ''), ifNull(concat(' @ ', toString(terms_limit_price)), '')), ''),
        ifNull(concat(' ', child_cl_ord_id, ' ', child_ord_status, ' at ', child_broker, '/', child_venue), ''),
        ifNull(concat(': ', toString(child_last_qty), ' @ ', toString(child_last_px)), ''),
        ifNull(concat(' [', reason_code, ']'), '')
    ) AS what,
    ord_qty,
    cum_qty,
    leaves_qty,
    avg_px,
    child_cl_ord_id AS cl_ord_id,
    child_broker AS broker,
    child_venue AS venue,
    child_ord_status AS child_status,
    child_exec_type AS exec_type,
    child_last_qty AS last_qty,
    child_last_px AS last_px,
    reason_code,
    reason_text,
    is_terminal,
    decision_event_id,
    event_id
FROM {database}.execution_orders_v1
