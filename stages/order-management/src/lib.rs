//! Validates decisions, keeps the event-sourced parent order and folds execution reports.
#![forbid(unsafe_code)]
