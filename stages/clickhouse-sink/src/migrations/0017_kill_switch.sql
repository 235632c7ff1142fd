-- needs: execution_controls_acks_v1
CREATE OR REPLACE VIEW {database}.kill_switch AS
SELECT
    control,
    version,
    any(said) AS phase,
    any(set) AS set_at,
    countIf(partition IS NOT NULL) AS partitions,
    countIf(session IS NOT NULL) AS sessions,
    sum(ifNull(open, 0)) AS open_children,
    if(partitions > 0, dateDiff('millisecond', set_at, maxIf(at, partition IS NOT NULL)), NULL) AS partitions_ms,
    if(sessions > 0, dateDiff('millisecond', set_at, maxIf(at, session IS NOT NULL)), NULL) AS sessions_ms,
    dateDiff('millisecond', set_at, max(at)) AS elapsed_ms
FROM
(
    SELECT
        control,
        version,
        partition,
        session,
        any(phase) AS said,
        any(set_at) AS set,
        min(acknowledged_at) AS at,
        argMin(open_children, acknowledged_at) AS open
    FROM {database}.execution_controls_acks_v1
    GROUP BY control, version, partition, session
)
GROUP BY control, version
