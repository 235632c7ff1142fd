//! Sessions to brokers: intent journal, adapters, reports.
#![forbid(unsafe_code)]
