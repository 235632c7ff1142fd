//! The one list of metrics.

/// How a metric is kept.
#[derive(Clone, Copy, Debug)]
pub(super) enum Shape {
    Counter,
    Gauge,
    Histogram(&'static [f64]),
}

pub(super) const SECONDS: &[f64] =
    &[0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0];
pub(super) const COUNTS: &[f64] =
    &[1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0, 2000.0, 5000.0, 10_000.0];

// Help for people is the documentation of the variant.
macro_rules! metrics {
    ($($variant:ident = $name:literal, $shape:expr, $help:literal;)*) => {
        /// Every metric there is.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Metric {
            $(#[doc = $help] $variant,)*
        }

        impl Metric {
            /// Every one.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// Name, shape and help.
            pub(super) const fn describe(self) -> (&'static str, Shape, &'static str) {
                match self {
                    $(Self::$variant => ($name, $shape, $help),)*
                }
            }
        }
    };
}

metrics! {
    Records = "fillstream_records_total", Shape::Counter,
        "Input records processed.";
    Outputs = "fillstream_outputs_total", Shape::Counter,
        "Output records written.";
    Timers = "fillstream_timers_fired_total", Shape::Counter,
        "Timers fired.";
    DeadLetters = "fillstream_dead_letters_total", Shape::Counter,
        "Records sent to a dead-letter topic.";
    Forwards = "fillstream_forwards_total", Shape::Counter,
        "Records sent on to the partition that their value asks for.";
    Commits = "fillstream_commits_total", Shape::Counter,
        "Committed transactions.";
    Aborts = "fillstream_aborts_total", Shape::Counter,
        "Aborted transactions.";
    Restores = "fillstream_restores_total", Shape::Counter,
        "Tasks restored.";
    Rebuilds = "fillstream_rebuilds_total", Shape::Counter,
        "Producers, consumers and tasks built again after a fatal error.";
    BatchSize = "fillstream_batch_size", Shape::Histogram(COUNTS),
        "Records and timers of a transaction.";
    TransactionSeconds = "fillstream_transaction_seconds", Shape::Histogram(SECONDS),
        "Time of a transaction by phase: poll, process, produce, offsets, commit.";
    EndToEndSeconds = "fillstream_end_to_end_seconds", Shape::Histogram(SECONDS),
        "From the entry of a root record to the commit of what it caused.";
    SpansExported = "fillstream_spans_exported_total", Shape::Counter,
        "Spans that the OpenTelemetry collector has taken.";
    SpansDropped = "fillstream_spans_dropped_total", Shape::Counter,
        "Spans that were not told, by reason: queue_full, not_accepted.";
    Lag = "fillstream_lag_records", Shape::Gauge,
        "Input records written and not yet committed as processed.";
    TableRows = "fillstream_table_rows_total", Shape::Counter,
        "Rows taken into tables.";
    TableRowErrors = "fillstream_table_row_errors_total", Shape::Counter,
        "Rows that no table could read.";
    TableLag = "fillstream_table_lag_records", Shape::Gauge,
        "Records of tables not yet taken in.";
    RestoreSeconds = "fillstream_restore_seconds", Shape::Histogram(SECONDS),
        "Time of a restore.";
    Tasks = "fillstream_tasks", Shape::Gauge,
        "Tasks running.";
    TimersSet = "fillstream_timers", Shape::Gauge,
        "Live timers.";
    GatewayIntents = "fillstream_gateway_intents_total", Shape::Counter,
        "Intents committed, by session.";
    GatewaySends = "fillstream_gateway_sends_total", Shape::Counter,
        "Attempts to send, by session and outcome: received, refused, not_sent, uncertain.";
    GatewaySendSeconds = "fillstream_gateway_send_seconds", Shape::Histogram(SECONDS),
        "From an attempt to send to the answer of the broker, by session.";
    GatewayReports = "fillstream_gateway_reports_total", Shape::Counter,
        "Execution reports committed, by session; those the gateway itself made included.";
    GatewayUnknowns = "fillstream_gateway_unknowns_total", Shape::Counter,
        "Orders whose state nobody can tell, by session: each needs a person.";
    GatewayRefusals = "fillstream_gateway_refusals_total", Shape::Counter,
        "Instructions that were not sent, by session and reason code.";
    GatewayOpenIntents = "fillstream_gateway_open_intents", Shape::Gauge,
        "Committed intents without the broker's answer, by session.";
    GatewaySessionUp = "fillstream_gateway_session_up", Shape::Gauge,
        "1 while the session is restored and receives reports, otherwise 0, by session.";
    GatewayRestarts = "fillstream_gateway_session_restarts_total", Shape::Counter,
        "Sessions started again from their journal after an error, by session.";
    SinkRows = "fillstream_sink_rows_total", Shape::Counter,
        "Rows inserted for the first time, by topic.";
    SinkUnreadable = "fillstream_sink_unreadable_total", Shape::Counter,
        "Rows of records that can never be read, by topic; counted among the rows too.";
    SinkBytes = "fillstream_sink_bytes_total", Shape::Counter,
        "Bytes of answered inserts, by topic.";
    SinkBatches = "fillstream_sink_batches_total", Shape::Counter,
        "Inserts answered, by topic and attempt: first, repeat, repair.";
    SinkInsertSeconds = "fillstream_sink_insert_seconds", Shape::Histogram(SECONDS),
        "Time of an answered insert, by topic.";
    SinkRetries = "fillstream_sink_retries_total", Shape::Counter,
        "Inserts sent again within their deadline under the same token, by topic.";
    SinkFoundComplete = "fillstream_sink_found_complete_total", Shape::Counter,
        "Batches of unknown outcome that were found complete and so not inserted twice, by topic.";
    SinkKilled = "fillstream_sink_killed_total", Shape::Counter,
        "Inserts of unknown outcome that still ran and were told to end, by topic.";
    SinkFailures = "fillstream_sink_failures_total", Shape::Counter,
        "Calls of ClickHouse that failed, by topic.";
    SinkTransactions = "fillstream_sink_transactions_total", Shape::Counter,
        "Kafka transactions of the sink.";
    SinkLag = "fillstream_sink_lag_records", Shape::Gauge,
        "Records written and not known to be in ClickHouse, by topic and worker.";
    ApiRequests = "fillstream_api_requests_total", Shape::Counter,
        "Requests answered by the strategy API, by route and status.";
    ApiRequestSeconds = "fillstream_api_request_seconds", Shape::Histogram(SECONDS),
        "Time of a request to the strategy API, by route.";
    ApiOpenWaits = "fillstream_api_open_waits", Shape::Gauge,
        "Questions and commands whose answer requests wait for, by kind: question, command.";
    ApiLateAnswers = "fillstream_api_late_answers_total", Shape::Counter,
        "Answers that came when nobody waited for them any more, by kind: question, command.";
    ConsumerGroupOffset = "kafka_consumergroup_current_offset", Shape::Gauge,
        "Committed offset of a group, by consumergroup, topic and partition.";
    ConsumerGroupLag = "kafka_consumergroup_lag", Shape::Gauge,
        "Records behind the end of a partition, by consumergroup, topic and partition.";
    PartitionOffset = "kafka_topic_partition_current_offset", Shape::Gauge,
        "End of a partition, by topic and partition.";
}

impl Metric {
    /// Name in the Prometheus text format.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.describe().0
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_unique_and_tell_unit_and_shape() {
        let names: BTreeSet<&str> = Metric::ALL.iter().map(|m| m.name()).collect();
        assert_eq!(names.len(), Metric::ALL.len());
        for metric in Metric::ALL {
            let (name, shape, help) = metric.describe();
            assert_eq!(name.ends_with("_total"), matches!(shape, Shape::Counter), "{name}");
            // Those of kafka_exporter, which the dashboards of Strimzi read, keep its names.
            assert!(name.starts_with("fillstream_") || name.starts_with("kafka_"), "{name}");
            assert!(help.ends_with('.'), "{name}: {help}");
        }
    }
}
