//! `fillstream dlq`.

use std::process::ExitCode;

use fillstream_kafka::topics::dead_letter_topic;
use fillstream_schemas::AvroRecord as _;
use fillstream_schemas::engine::DeadLetter;
use fillstream_schemas::wire;

use super::tail::each;
use crate::bus::Cluster;
use crate::cli::{Dlq, From};
use crate::config::Config;
use crate::registry::groups;

pub(crate) fn run(command: Dlq, config: &Config) -> anyhow::Result<ExitCode> {
    let Dlq::List { json } = command;
    let cluster = Cluster::new(config)?;
    let mut count = 0;
    for group in groups(&config.stages, &config.run.split)? {
        for stage in group.stages() {
            each(&cluster, &dead_letter_topic(stage.spec().name), From::Beginning, true, |record| {
                let Some(value) = record.value.as_deref() else { return Ok(true) };
                let letter = DeadLetter::decode(wire::split(value)?.1)?;
                count += 1;
                if json {
                    println!("{}", letter.to_json());
                } else {
                    let DeadLetter { stage, topic, partition, offset, reason_code, reason_text, failed_at, .. } =
                        letter;
                    println!("{failed_at} {stage} {topic}-{partition}@{offset} {reason_code}: {reason_text}");
                }
                Ok(true)
            })?;
        }
    }
    if !json {
        println!("{count} dead letters");
    }
    Ok(ExitCode::SUCCESS)
}
