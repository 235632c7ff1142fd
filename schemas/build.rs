//! Turns the contracts, and those of the tests, into Rust.

use std::error::Error;
use std::path::{Path, PathBuf};

fn main() -> Result<(), Box<dyn Error>> {
    for watched in ["avro", "released", "tests/avro"] {
        println!("cargo::rerun-if-changed={watched}");
    }
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    let generated = fillstream_codegen::generate(
        Path::new("avro"),
        Some(Path::new("released")),
        "fillstream",
        &out.join("contracts.rs"),
    )
    .and_then(|()| fillstream_codegen::generate(Path::new("tests/avro"), None, "test", &out.join("testing.rs")));
    // Debug of an error would hide the message in noise: this is read by whoever edits a contract.
    generated.map_err(|error| error.to_string().into())
}
