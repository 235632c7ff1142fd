//! `fillstream controls`.

use std::process::ExitCode;

use fillstream_controls::{Catalogue, Proof};

use crate::cli::ControlsCommand;

pub(crate) fn run(command: &ControlsCommand) -> anyhow::Result<ExitCode> {
    match command {
        ControlsCommand::Verify => verify(),
    }
}

fn verify() -> anyhow::Result<ExitCode> {
    let catalogue = Catalogue::load()?;
    let (mut held, mut by_test, mut failed) = (0_usize, 0_usize, 0_usize);
    println!("{:<24} {:<15} {:<26} {:<8} evidence for", "control", "stage", "code", "probe");
    for control in &catalogue.controls {
        let proof = control.probe()?;
        let (word, count) = match &proof {
            Proof::Held => ("pass", &mut held),
            Proof::ByTest => ("by test", &mut by_test),
            Proof::Blocked(_) | Proof::Missed(_) => ("FAIL", &mut failed),
        };
        *count += 1;
        let clauses = control.evidence_for.join(", ");
        println!("{:<24} {:<15} {:<26} {word:<8} {clauses}", control.id, control.stage, control.code);
        match proof {
            Proof::Blocked(codes) => println!("    refused without its cause too: {}", codes.join(", ")),
            Proof::Missed(codes) => println!("    the code did not come out, but: {}", codes.join(", ")),
            Proof::ByTest => println!("    test: {}", control.test),
            Proof::Held => {}
        }
    }
    println!("{held} pass, {by_test} by their tests, {failed} fail");
    println!(
        "a control that passes is evidence for the clauses named, no more: limits, people and supervision are yours"
    );
    Ok(ExitCode::from(u8::from(failed > 0)))
}
