-- needs: execution_orders_v1, execution_validated_orders_v1, execution_allocations_v1, execution_routing_plans_v1
CREATE OR REPLACE VIEW {database}.order_funnel AS
SELECT 1 AS step, 'decision refused' AS what, assumeNotNull(reason_code) AS code, uniqExact(order_id) AS orders
FROM {database}.execution_orders_v1
WHERE event_type = 'REJECTED' AND order_id NOT IN
    (SELECT order_id FROM {database}.execution_orders_v1 WHERE event_type = 'CREATED')
GROUP BY code
UNION ALL
SELECT 2, 'order created', '', uniqExact(order_id)
FROM {database}.execution_orders_v1
WHERE event_type = 'CREATED'
UNION ALL
SELECT 3, 'refused by risk', code, uniqExact(order_id)
FROM {database}.execution_validated_orders_v1
ARRAY JOIN reason_codes AS code
WHERE NOT is_approved
GROUP BY code
UNION ALL
SELECT 4, 'approved', '', uniqExact(order_id)
FROM {database}.execution_validated_orders_v1
WHERE is_approved
UNION ALL
SELECT 5, 'not or not wholly allocated', assumeNotNull(unallocated_code), uniqExact(order_id)
FROM {database}.execution_allocations_v1
WHERE unallocated_code IS NOT NULL
GROUP BY unallocated_code
UNION ALL
SELECT 6, 'allocated', toString(rule), uniqExact(order_id)
FROM {database}.execution_allocations_v1
WHERE account_id IS NOT NULL
GROUP BY rule
UNION ALL
SELECT 7, 'a slice could not be routed', assumeNotNull(unrouted_code), uniqExact(order_id)
FROM {database}.execution_routing_plans_v1
WHERE unrouted_code IS NOT NULL
GROUP BY unrouted_code
UNION ALL
SELECT 8, concat('ended ', toString(event_type)), ifNull(reason_code, ''), uniqExact(order_id)
FROM {database}.execution_orders_v1
WHERE is_terminal AND event_type != 'REJECTED'
GROUP BY event_type, reason_code
