//! Local Kafka, schema registry and ClickHouse from the package registries.
