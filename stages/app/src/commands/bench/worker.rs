//! `fillstream bench worker`: the stage that remembers, under the Kafka driver, in a process that can be killed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use fillstream_kafka::driver::GroupRun;
use fillstream_kafka::observe::{Health, Metrics, serve};

use super::args::Worker;
use super::bed::{Bed, services};
use super::stages::Work;
use crate::commands::edges::Observed;
use crate::commands::run::driver;
use crate::config::Config;
use crate::demo::processes::write_address;

pub(super) fn run(args: &Worker, config: &Config) -> anyhow::Result<bool> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&stop))?;
    }
    let bed = Bed::new(services()?, config.clone(), args.partitions, 1)?;
    let (metrics, health) = (Metrics::new(), Health::new());
    let listen = config.run.listen.parse().with_context(|| format!("run.listen {:?}", config.run.listen))?;
    let server = serve(listen, Arc::clone(&health), Arc::clone(&metrics))?;
    let observed = Observed { metrics, health, tracer: Default::default() };
    let run = GroupRun { group: Work::Keep.group(&args.name)?, workers: config.run.workers };
    let running = driver(&bed.cluster, config, &observed, None).start(&[run])?;
    write_address(&args.address_file, &server.address().to_string())?;
    while !stop.load(Ordering::Relaxed) && !running.is_finished() {
        std::thread::park_timeout(Duration::from_millis(20));
    }
    running.stop();
    running.join()?;
    Ok(true)
}
