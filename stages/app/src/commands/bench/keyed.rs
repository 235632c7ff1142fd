//! `fillstream bench keyed`.

use std::time::Duration;

use super::args::Keyed;
use super::bed::Bed;
use super::stages::Work;
use super::{hop, latency, throughput};
use crate::config::Config;

pub(super) fn run(args: &Keyed, config: &Config) -> anyhow::Result<bool> {
    let common = &args.latency.common;
    let (slow, fast) = Bed::with(config, (common.partitions, common.replication), |bed| {
        let slow = latency::rounds(bed, &args.latency, Work::Count)?;
        let every = Duration::from_millis(args.loop_commit_ms.into());
        let works: &[Work] = if args.records == 0 { &[] } else { &[Work::Count] };
        Ok((slow, throughput::rounds(bed, common, works, args.records, every)?))
    })?;
    hop::print(&slow);
    throughput::print(&fast);
    if common.json {
        println!("{}", serde_json::json!({ "bench": "keyed", "latency": slow, "throughput": fast }));
    }
    Ok(slow.iter().all(|r| r.unanswered == 0))
}
