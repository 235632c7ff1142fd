//! `topics.yaml` against what the stages declare.

use std::collections::BTreeSet;
use std::sync::Arc;

use fillstream_core::group::Group;

use super::model::{Catalog, Profile, TopicFault};

/// A group whose declarations are checked.
pub type StageGroup = Arc<Group>;

/// Every contradiction between the catalog and the stages of `groups`: a topic that is missing or has another schema, an
/// owner or reader that the stage does not declare, inputs of a group with unequal partition counts, an input of a stage
/// with state that the catalog would let grow.
#[must_use]
pub fn check_declarations(catalog: &Catalog, profile: Profile, groups: &[StageGroup]) -> Vec<TopicFault> {
    let mut faults = Vec::new();
    let mut fault = |subject: &str, text: String| faults.push(TopicFault { subject: subject.to_owned(), text });
    let mut known = BTreeSet::new();
    let mut reads = BTreeSet::new();
    for group in groups {
        let mut counts = BTreeSet::new();
        for subscription in group.subscriptions() {
            let Some(count) = catalog.partitions(subscription.input.topic, profile) else { continue };
            counts.insert(count);
        }
        if counts.len() > 1 {
            fault(group.name(), format!("its inputs have unequal partition counts: {counts:?}"));
        }
        for stage in group.stages() {
            let spec = stage.spec();
            known.insert(spec.name);
            for input in spec.inputs {
                reads.insert((spec.name, input.topic));
                check_topic(catalog, input.topic, input.schema, &mut fault);
                if catalog.topic(input.topic).is_some_and(|t| !t.keyed_state_input) {
                    fault(input.topic, format!("is an input of {} but not a keyed_state_input", spec.name));
                }
            }
            for output in spec.outputs {
                check_topic(catalog, output.topic, output.schema, &mut fault);
                if let Some(t) = catalog.topic(output.topic).filter(|t| t.owner != spec.name) {
                    fault(output.topic, format!("is written by {} but owned by {}", spec.name, t.owner));
                }
            }
            for (topic, schema) in spec.tables.iter().flat_map(|t| t.topics.iter()) {
                reads.insert((spec.name, *topic));
                check_topic(catalog, topic, schema, &mut fault);
            }
        }
    }
    for (stage, topic) in &reads {
        if catalog.topic(topic).is_some_and(|t| !t.readers.contains(*stage)) {
            fault(topic, format!("is read by {stage}, which is not among its readers"));
        }
    }
    // Every stage also reads the pacer's clock, which none declares.
    for t in catalog.topics.iter().filter(|t| t.owner != "pacer") {
        for reader in t.readers.iter().filter(|r| known.contains(r.as_str())) {
            if !reads.contains(&(reader.as_str(), t.name.as_str())) {
                fault(&t.name, format!("names {reader} as a reader, which does not read it"));
            }
        }
        if known.contains(t.owner.as_str()) && !is_written(groups, &t.owner, &t.name) {
            fault(&t.name, format!("names {} as its owner, which does not write it", t.owner));
        }
    }
    faults
}

fn is_written(groups: &[StageGroup], owner: &str, topic: &str) -> bool {
    groups
        .iter()
        .flat_map(|g| g.stages())
        .map(|s| s.spec())
        .filter(|s| s.name == owner)
        .any(|s| s.outputs.iter().any(|o| o.topic == topic) || s.inputs.iter().any(|i| i.forward_to == Some(topic)))
}

fn check_topic(catalog: &Catalog, topic: &str, schema: &str, fault: &mut impl FnMut(&str, String)) {
    match catalog.topic(topic) {
        None => fault(topic, "is declared by a stage but not listed".to_owned()),
        Some(t) if t.value != schema => fault(topic, format!("has value {}, but the stage declares {schema}", t.value)),
        Some(_) => {}
    }
}
