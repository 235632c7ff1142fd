//! controls.yaml against the code: codes, tests, probes, wording.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::path::Path;

use fillstream_controls::{Catalogue, Proof};

const STAGES: [&str; 4] = ["child-risk", "pre-trade-risk", "broker-gateway", "reference"];

fn sources(folder: &Path, into: &mut String) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, into);
        } else if path.extension().is_some_and(|ext| ext == "rs") {
            into.push_str(&std::fs::read_to_string(&path).unwrap());
        }
    }
}

fn codes_of(stage: &str) -> BTreeSet<String> {
    let symbols = match stage {
        "child-risk" => fillstream_child_risk::Reason::SYMBOLS,
        "pre-trade-risk" => fillstream_pre_trade_risk::Reason::SYMBOLS,
        other => {
            // The gateway's codes stand in its sources.
            let mut text = String::new();
            sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(other).join("src"), &mut text);
            return text.split('"').map(str::to_owned).collect();
        }
    };
    symbols.iter().map(|code| (*code).to_owned()).collect()
}

#[test]
fn every_control_is_probed_and_its_code_comes_out() {
    for control in Catalogue::load().unwrap().controls {
        let proof = control.probe().unwrap();
        let expected = if control.stage == "broker-gateway" { Proof::ByTest } else { Proof::Held };
        assert_eq!(proof, expected, "{}", control.id);
    }
}

#[test]
fn every_code_and_every_test_named_exists() {
    let mut text = String::new();
    for stage in STAGES {
        for folder in ["src", "tests"] {
            let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(stage).join(folder);
            if folder.exists() {
                sources(&folder, &mut text);
            }
        }
    }
    for control in Catalogue::load().unwrap().controls {
        assert!(codes_of(&control.stage).contains(&control.code), "{}: no code {}", control.id, control.code);
        assert!(text.contains(&format!("fn {}(", control.test)), "{}: no test {}", control.id, control.test);
    }
}

#[test]
fn every_code_of_child_risk_is_a_control_or_says_why_it_is_none() {
    let catalogue = Catalogue::load().unwrap();
    let controls = catalogue.controls.iter().filter(|control| control.stage == "child-risk");
    let controls: BTreeSet<String> = controls.map(|control| control.code.clone()).collect();
    let others: BTreeSet<String> = catalogue.other_codes.keys().cloned().collect();
    assert!(controls.is_disjoint(&others));
    let all: BTreeSet<String> = controls.union(&others).cloned().collect();
    assert_eq!(all, codes_of("child-risk"));
}

#[test]
fn ids_are_unique_and_nothing_claims_to_be_compliant() {
    let catalogue = Catalogue::load().unwrap();
    let ids: BTreeSet<&str> = catalogue.controls.iter().map(|control| control.id.as_str()).collect();
    assert_eq!(ids.len(), catalogue.controls.len());
    let text = include_str!("../../child-risk/controls.yaml").to_lowercase();
    assert!(!text.contains("complian") && !text.contains("complies"));
    for control in catalogue.controls {
        let words = [&control.does, &control.limit, &control.scope, &control.shows];
        assert!(words.iter().all(|word| !word.trim().is_empty()) && !control.evidence_for.is_empty(), "{}", control.id);
        for clause in control.evidence_for {
            assert!(clause.starts_with("SEC Rule 15c3-5(") || clause.starts_with("RTS 6 Article "), "{clause}");
        }
    }
}
