//! `fillstream local`.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::Context as _;
use fillstream_deploy::clickhouse::{ServeOptions, serve};
use fillstream_deploy::{ClusterLayout, KafkaCluster, LocalConfig, down, reset, status, up};

use crate::cli::Local;

pub(crate) fn run(command: Local) -> anyhow::Result<ExitCode> {
    if let Local::ServeClickhouse { args } = command {
        let options = ServeOptions::from_args(args.into_iter().map(Into::into)).context("serve-clickhouse")?;
        serve(&options).context("clickhouse")?;
        return Ok(ExitCode::SUCCESS);
    }
    let config = local_config()?;
    match command {
        Local::Up { json } => {
            let endpoints = up(&config, &|progress| eprintln!("{progress}"))?;
            if json {
                println!("{}", serde_json::to_string(&endpoints)?);
            } else {
                println!("export FILLSTREAM_KAFKA={}", endpoints.kafka);
                println!("export FILLSTREAM_REGISTRY={}", endpoints.registry);
                println!("export FILLSTREAM_CLICKHOUSE={}", endpoints.clickhouse);
            }
        }
        Local::Status => {
            for service in status(&config) {
                let detail = service.detail.unwrap_or_default();
                let address = service.address.unwrap_or_default();
                println!("{:<12} {:?} {address} {detail}", service.service.to_string(), service.state);
            }
        }
        Local::Down => {
            down(&config, &|progress| eprintln!("{progress}"))?;
        }
        Local::Reset => reset(&config, &|progress| eprintln!("{progress}"))?,
        Local::Cluster { nodes } => cluster(&config, nodes)?,
        Local::ServeClickhouse { .. } => {}
    }
    Ok(ExitCode::SUCCESS)
}

// Its nodes are children of this process: they end with it.
fn cluster(config: &LocalConfig, nodes: u8) -> anyhow::Result<()> {
    let none = ClusterLayout { nodes, listeners: Vec::new(), between_brokers: Vec::new(), controllers: Vec::new() };
    let cluster = KafkaCluster::prepare(config, &none, &|progress| eprintln!("{progress}"))?;
    cluster.start()?;
    println!("export FILLSTREAM_KAFKA={}", cluster.bootstrap());
    while !config.cancel.load(Ordering::Relaxed) {
        std::thread::park_timeout(Duration::from_millis(100));
    }
    cluster.stop();
    Ok(())
}

/// The local services of this user; Ctrl-C while they start stops what was started.
pub(crate) fn local_config() -> anyhow::Result<LocalConfig> {
    let config = LocalConfig::from_env()?;
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&config.cancel))?;
    }
    Ok(config)
}
