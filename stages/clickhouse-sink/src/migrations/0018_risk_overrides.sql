-- needs: execution_risk_overrides_v1, execution_risk_alerts_v1
CREATE OR REPLACE VIEW {database}.risk_overrides AS
SELECT
    r.requested_at AS requested_at,
    r.portfolio_id AS portfolio_id,
    r.order_id AS order_id,
    r.code AS code,
    r.actor AS actor,
    r.second_actor AS second_actor,
    r.reason AS reason,
    r.expires_at AS expires_at,
    a.answer AS answer,
    a.answered_at AS answered_at
FROM
(
    SELECT *, concat(code, ' of order ', order_id, ' until ', formatDateTime(expires_at, '%Y-%m-%dT%H:%i:%S.%fZ', 'UTC')) AS asked
    FROM {database}.execution_risk_overrides_v1
) AS r
LEFT JOIN
(
    SELECT splitByString(' by ', text)[1] AS asked, argMin(code, timestamp) AS answer, min(timestamp) AS answered_at
    FROM {database}.execution_risk_alerts_v1
    WHERE alert_type = 'OVERRIDE'
    GROUP BY asked
) AS a ON a.asked = r.asked
SETTINGS join_use_nulls = 1
