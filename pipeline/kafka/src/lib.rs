//! Runs stages on Kafka: transactions, restore, tables, topics, registry.
