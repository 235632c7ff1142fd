//! `fillstream topology`.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::process::ExitCode;

use fillstream_core::group::Group;

use crate::cli::Topology;
use crate::config::Config;
use crate::registry::groups;

pub(crate) fn run(command: &Topology, config: &Config) -> anyhow::Result<ExitCode> {
    let groups = groups(&config.stages, &config.run.split)?;
    if command.mermaid {
        print!("{}", mermaid(groups.iter().map(AsRef::as_ref)));
    } else {
        for group in &groups {
            println!("group fillstream.{}", group.name());
            for stage in group.stages() {
                let spec = stage.spec();
                println!("  {}: {}", spec.name, spec.doc);
                spec.inputs.iter().for_each(|i| println!("    reads  {}", i.topic));
                spec.tables.iter().flat_map(|t| t.topics.iter()).for_each(|(t, _)| println!("    table  {t}"));
                spec.outputs.iter().for_each(|o| println!("    writes {}", o.topic));
                stage.stores().iter().for_each(|(store, schema)| println!("    keeps  {store} ({schema})"));
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

// The gateway is no stage and declares nothing; its links stand here. The sink reads nearly everything and would only
// cover the rest with arrows.
const EDGES: &[(&str, &[&str], &[&str])] =
    &[("broker-gateway", &["execution.child-orders.v1"], &["execution.intents.v1", "execution.reports.v1"])];

fn mermaid<'a>(groups: impl Iterator<Item = &'a Group>) -> String {
    let mut out = String::from("flowchart LR\n");
    let mut topics = BTreeSet::new();
    let mut links = BTreeSet::new();
    for group in groups {
        let _ = writeln!(out, "  subgraph {}", group.name());
        for spec in group.stages().iter().map(fillstream_core::StageHandle::spec) {
            let _ = writeln!(out, "    {}[{}]", spec.name, spec.name);
            for topic in spec.inputs.iter().map(|i| i.topic) {
                topics.insert(topic);
                links.insert(format!("  {topic} --> {}\n", spec.name));
            }
            for topic in spec.outputs.iter().map(|o| o.topic) {
                topics.insert(topic);
                links.insert(format!("  {} --> {topic}\n", spec.name));
            }
        }
        out.push_str("  end\n");
    }
    for (edge, reads, writes) in EDGES {
        let _ = writeln!(out, "  {edge}[{edge}]");
        topics.extend(reads.iter().chain(writes.iter()));
        links.extend(reads.iter().map(|t| format!("  {t} --> {edge}\n")));
        links.extend(writes.iter().map(|t| format!("  {edge} --> {t}\n")));
    }
    for topic in topics {
        let _ = writeln!(out, "  {topic}([{topic}])");
    }
    out.extend(links);
    out
}
