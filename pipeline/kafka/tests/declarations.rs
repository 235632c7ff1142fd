//! topics.yaml against what stages declare: each contradiction is found and named.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod common;
mod stages;

use fillstream_core::group::{Group, Path};
use fillstream_kafka::topics::{Catalog, check_declarations};

test_stages!(declared, "test.declared-in.v1", "test.declared-fwd.v1", "test.declared-mid.v1", "test.declared-out.v1");

fn topic(name: &str, owner: &str, readers: &str, keyed: bool) -> String {
    format!(
        "
  - {{name: {name}, kind: output, key: portfolio_id, value: fillstream.execution.Command, owner: {owner},
     readers: [{readers}], cleanup: delete, retention: 1d, keyed_state_input: {keyed}}}"
    )
}

fn faults(edit: impl Fn(String) -> String) -> Vec<String> {
    let topics = [
        topic(declared::IN, "upstream", declared::COUNT, true),
        topic(declared::FORWARDED, declared::COUNT, declared::COUNT, true),
        topic(declared::MID, declared::COUNT, declared::COPY, true),
        topic(declared::OUT, declared::COPY, "sink", false),
    ];
    let yaml = format!(
        "
version: 1
profiles:
  local: {{partitions: 3, replication: 1, min_insync_replicas: 1}}
topics:{}
engine:
  journal: {{cleanup: delete, retention: 1d}}
  changelog: {{cleanup: compact, retention: forever}}
  snapshots: {{cleanup: delete, retention: 1d}}
  dead_letters: {{cleanup: delete, retention: 1d}}
  time: {{cleanup: delete, retention: 1d, partitions: 1}}
",
        topics.concat()
    );
    let catalog = Catalog::parse(&edit(yaml), |_| true).unwrap();
    let path = Path::new("declared", (declared::stages().make)()).unwrap();
    let groups = [Group::fused(&path).unwrap()];
    let profile = catalog.profile("local").unwrap();
    check_declarations(&catalog, profile, &groups).iter().map(ToString::to_string).collect()
}

#[test]
fn a_catalog_that_says_what_the_stages_do_has_no_faults() {
    assert_eq!(faults(|yaml| yaml), Vec::<String>::new());
}

#[test]
fn each_contradiction_is_named() {
    let one = |from: &str, to: &str, expected: &str| {
        let found = faults(|yaml| yaml.replacen(from, to, 1));
        assert!(found.iter().any(|f| f.contains(expected)), "{expected} is missing in {found:?}");
    };
    let (count, copy) = (declared::COUNT, declared::COPY);
    one(
        "test.declared-mid.v1",
        "test.declared-other.v1",
        "test.declared-mid.v1: is declared by a stage but not listed",
    );
    one(
        "fillstream.execution.Command",
        "fillstream.execution.Other",
        "the stage declares fillstream.execution.Command",
    );
    one(&format!("owner: {copy}"), "owner: somebody", &format!("is written by {copy} but owned by somebody"));
    one(&format!("readers: [{copy}]"), "readers: []", &format!("is read by {copy}, which is not among its readers"));
    one(
        "readers: [sink]",
        &format!("readers: [{count}]"),
        &format!("names {count} as a reader, which does not read it"),
    );
    one("owner: upstream", &format!("owner: {count}"), &format!("names {count} as its owner, which does not write it"));
    one("keyed_state_input: true", "keyed_state_input: false", "but not a keyed_state_input");
    one("keyed_state_input: true", "keyed_state_input: true, partitions: 5", "unequal partition counts");
}
