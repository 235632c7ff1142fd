//! `fillstream config`.

use std::process::ExitCode;

use crate::cli::ConfigCommand;
use crate::config::{Config, DEFAULT, Sources};

pub(crate) fn run(command: ConfigCommand, sources: &Sources) -> anyhow::Result<ExitCode> {
    match command {
        ConfigCommand::Check => {
            Config::load(sources)?;
            println!("the configuration is valid");
        }
        ConfigCommand::Show => print!("{}", Config::load(sources)?.shown()?),
        ConfigCommand::Default => print!("{DEFAULT}"),
    }
    Ok(ExitCode::SUCCESS)
}
