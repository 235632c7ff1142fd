//! `fillstream venue`.

use std::process::ExitCode;

use anyhow::Context as _;

use crate::cli::VenueArgs;
use crate::demo::market::VenueFile;
use crate::demo::processes::write_address;

pub(crate) fn run(command: &VenueArgs) -> anyhow::Result<ExitCode> {
    let text =
        std::fs::read_to_string(&command.config_json).with_context(|| command.config_json.display().to_string())?;
    let file: VenueFile = serde_json::from_str(&text).with_context(|| command.config_json.display().to_string())?;
    let market = file.open_market()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind(&command.listen).await.with_context(|| command.listen.clone())?;
        let address = listener.local_addr()?;
        if let Some(path) = &command.address_file {
            write_address(path, &address.to_string())?;
        }
        tracing::info!(%address, "venue listens");
        fillstream_venue::serve(file.venue, market, listener, stop_signal()).await?;
        anyhow::Ok(())
    })?;
    Ok(ExitCode::SUCCESS)
}

async fn stop_signal() {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut term), Ok(mut int)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) else {
        return;
    };
    tokio::select! {
        _ = term.recv() => {},
        _ = int.recv() => {},
    }
}
