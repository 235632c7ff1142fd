//! `fillstream schemas diff`.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, bail, ensure};
use fillstream_schemas::{compat, contract};
use serde_json::Value as Json;

use crate::cli::SchemasDiff;
use crate::config::Config;
use crate::live::get;

/// A schema and what to call it.
struct Named {
    name: String,
    schema: String,
}

pub(crate) fn run(args: &SchemasDiff, config: impl FnOnce() -> anyhow::Result<Config>) -> anyhow::Result<ExitCode> {
    let path = Path::new(&args.subject);
    let (from, to) = if args.subject.ends_with(".avsc") {
        of_file(path, args)?
    } else if contract(&args.subject).is_some() || args.released.join(&args.subject).is_dir() {
        of_contract(args)?
    } else {
        of_registry(args, &config()?.registry.url)?
    };
    println!("{} -> {}", from.name, to.name);
    let differences = compat::differences(&from.schema, &to.schema)?;
    for difference in &differences {
        println!("{difference}");
    }
    let breaks = compat::compare(&args.subject, &to.schema, args.from.unwrap_or(0), &from.schema)?;
    for found in &breaks {
        println!("break: {}: {} ({})", found.path, found.reason, found.direction);
    }
    let count = differences.len();
    match breaks.is_empty() {
        true => println!("{count} differences; compatible in both directions"),
        false => println!("{count} differences, {} breaks", breaks.len()),
    }
    Ok(ExitCode::from(u8::from(!breaks.is_empty())))
}

fn released(args: &SchemasDiff, full_name: &str, version: Option<u32>) -> anyhow::Result<Named> {
    let versions = compat::released_versions(&args.released, full_name)?;
    let found = match version {
        Some(wanted) => versions.iter().find(|v| v.version == wanted),
        None => versions.last(),
    };
    let found = found.with_context(|| {
        let what = version.map_or("no released version".to_owned(), |v| format!("no version {v}"));
        format!("{full_name} has {what} in {}", args.released.display())
    })?;
    Ok(Named { name: format!("{full_name} v{}", found.version), schema: found.schema.clone() })
}

fn of_contract(args: &SchemasDiff) -> anyhow::Result<(Named, Named)> {
    let full_name = &args.subject;
    let to = match args.to {
        Some(_) => released(args, full_name, args.to)?,
        None => {
            let contract = contract(full_name).with_context(|| format!("this build has no contract {full_name}"))?;
            Named { name: format!("{full_name} of this build"), schema: contract.schema.to_owned() }
        }
    };
    Ok((released(args, full_name, args.from)?, to))
}

fn of_file(path: &Path, args: &SchemasDiff) -> anyhow::Result<(Named, Named)> {
    ensure!(args.to.is_none(), "a file is what is compared with: give one version at most");
    let schema = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    let json: Json = serde_json::from_str(&schema).with_context(|| path.display().to_string())?;
    let text = |key: &str| json.get(key).and_then(Json::as_str).unwrap_or_default();
    let full_name = format!("{}.{}", text("namespace"), text("name"));
    Ok((released(args, &full_name, args.from)?, Named { name: path.display().to_string(), schema }))
}

fn of_registry(args: &SchemasDiff, url: &str) -> anyhow::Result<(Named, Named)> {
    let subject = &args.subject;
    let base = format!("{}/subjects/{subject}/versions", url.trim_end_matches('/'));
    let (status, text) = get(&base)?;
    if status == 404 {
        bail!("{subject} is no .avsc file, no contract of this build, and no subject of the registry at {url}");
    }
    ensure!(status == 200, "{base}: {status}: {text}");
    let versions: Vec<u32> = serde_json::from_str(&text).with_context(|| base.clone())?;
    let last = versions.iter().rev();
    let pick = |given: Option<u32>, back: usize| {
        given
            .or_else(|| last.clone().nth(back).copied())
            .with_context(|| format!("{subject} has versions {versions:?}: name the two to compare"))
    };
    let fetch = |version: u32| -> anyhow::Result<Named> {
        let (status, text) = get(&format!("{base}/{version}"))?;
        ensure!(status == 200, "{base}/{version}: {status}: {text}");
        let json: Json = serde_json::from_str(&text)?;
        let schema = json.get("schema").and_then(Json::as_str);
        let schema = schema.with_context(|| format!("{base}/{version}: no schema"))?.to_owned();
        Ok(Named { name: format!("{subject} v{version}"), schema })
    };
    Ok((fetch(pick(args.from, 1)?)?, fetch(pick(args.to, 0)?)?))
}
