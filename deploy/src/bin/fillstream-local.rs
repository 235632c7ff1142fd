//! The local services without the rest of `fillstream`, for tests and development.

use std::env;
use std::error::Error;
use std::ffi::OsString;
use std::process::ExitCode;
use std::sync::Arc;

use fillstream_deploy::clickhouse::{ServeOptions, serve};
use fillstream_deploy::{
    DeployError, Launcher, LocalConfig, Progress, Service, ServiceSource, ServiceState, down, reset, status, up,
};

const USAGE: &str = "usage: fillstream-local up|status|down|reset [--data DIR] [--cache DIR] [--json]
                        [--kafka-port N] [--registry-port N] [--clickhouse-port N]

A service that runs elsewhere is used when FILLSTREAM_KAFKA (host:port), FILLSTREAM_REGISTRY or
FILLSTREAM_CLICKHOUSE (http://...) names it.

Exit status: 0 done; 1 failed, or status found a service that is not ready; 2 wrong arguments.";

fn main() -> ExitCode {
    let mut args = env::args_os().skip(1);
    let command = args.next().unwrap_or_default();
    let command = command.to_string_lossy();
    if command == "serve-clickhouse" {
        return finish(ServeOptions::from_args(args).and_then(|options| serve(&options)).map(|()| true));
    }
    let parsed = Launcher::current_exe(["serve-clickhouse"])
        .and_then(|launcher| LocalConfig::from_vars(|name| env::var_os(name), launcher));
    let mut config = match parsed {
        Ok(config) => config,
        Err(error) => return finish(Err(error)),
    };
    let json = match parse(args, &mut config) {
        Ok(json) => json,
        Err(message) => return wrong_usage(&message),
    };
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        if let Err(error) = signal_hook::flag::register(signal, Arc::clone(&config.cancel)) {
            tracing::warn!(%error, signal, "signal not handled");
        }
    }
    let progress = |step: Progress<'_>| eprintln!("{step}");
    match command.as_ref() {
        "up" => finish(up(&config, &progress).map(|endpoints| {
            if json {
                print_json(&endpoints);
            } else {
                for service in Service::ALL {
                    println!("{}={}", service.variable(), endpoints.of(service));
                }
            }
            true
        })),
        "status" => finish(Ok(print_status(&config, json))),
        "down" => finish(down(&config, &progress).map(|stopped| {
            if json {
                print_json(&stopped);
            }
            true
        })),
        "reset" => finish(reset(&config, &progress).map(|()| true)),
        other => wrong_usage(&format!("unknown command '{other}'")),
    }
}

fn print_status(config: &LocalConfig, json: bool) -> bool {
    let all = status(config);
    if json {
        print_json(&all);
    } else {
        for one in &all {
            let state = format!("{:?}", one.state).to_lowercase();
            let pid = one.pid.map(|pid| format!(" pid {pid}")).unwrap_or_default();
            let address = one.address.as_deref().unwrap_or("-");
            let detail = one.detail.as_ref().map(|detail| format!(" ({detail})")).unwrap_or_default();
            println!("{:<10} {state:<8} {address}{pid}{detail}", one.service.name());
        }
    }
    all.iter().all(|one| one.state == ServiceState::Ready)
}

fn print_json<T: serde::Serialize>(value: &T) {
    match serde_json::to_string(value) {
        Ok(text) => println!("{text}"),
        Err(error) => eprintln!("fillstream-local: {error}"),
    }
}

/// Reads the options into the configuration; true when `--json` is among them.
fn parse(args: impl Iterator<Item = OsString>, config: &mut LocalConfig) -> Result<bool, String> {
    let mut args = args;
    let mut json = false;
    while let Some(name) = args.next() {
        let name = name.to_string_lossy().into_owned();
        if name == "--json" {
            json = true;
            continue;
        }
        let value = args.next().ok_or_else(|| format!("{name} needs a value"))?;
        let path = || std::path::absolute(&value).map_err(|error| error.to_string());
        let service = match name.as_str() {
            "--data" => {
                config.data = path()?;
                continue;
            }
            "--cache" => {
                config.cache = path()?;
                continue;
            }
            "--kafka-port" => Service::Kafka,
            "--registry-port" => Service::Registry,
            "--clickhouse-port" => Service::ClickHouse,
            _ => return Err(format!("unknown option {name}")),
        };
        let port = value.to_str().and_then(|text| text.parse().ok()).filter(|port| *port != 0);
        let port = Some(port.ok_or_else(|| format!("{name} needs a port number"))?);
        *config.source_mut(service) = ServiceSource::Local { port };
    }
    Ok(json)
}

fn finish(outcome: Result<bool, DeployError>) -> ExitCode {
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            let mut line = format!("fillstream-local: {error}");
            let mut cause = error.source();
            while let Some(inner) = cause {
                line.push_str(&format!(": {inner}"));
                cause = inner.source();
            }
            eprintln!("{line}");
            ExitCode::FAILURE
        }
    }
}

fn wrong_usage(message: &str) -> ExitCode {
    eprintln!("fillstream-local: {message}\n{USAGE}");
    ExitCode::from(2)
}
