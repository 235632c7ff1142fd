//! The difference between `topics.yaml` and a cluster, and making it disappear.

use std::collections::BTreeMap;
use std::fmt;

use crate::client::{Admin, ClientError, ConfigOrigin, ConfigValue};

use super::model::ResolvedTopic;

/// A topic as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TopicState {
    /// Partitions.
    pub partitions: i32,
    /// Replicas.
    pub replication: i32,
    /// Settings in force.
    pub settings: BTreeMap<String, ConfigValue>,
}

/// The topics of a cluster that a plan asks about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cluster {
    /// By name.
    pub topics: BTreeMap<String, TopicState>,
}

/// What is allowed beyond creating and growing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ApplyOptions {
    /// Changes that delete records: a shorter retention, another cleanup, fewer partitions (the topic is deleted and made
    /// again). Never those of topics whose count is fixed.
    pub allow_data_loss: bool,
}

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Create a topic.
    Create(ResolvedTopic),
    /// Add partitions.
    Grow {
        /// Topic.
        topic: String,
        /// Partitions now.
        from: i32,
        /// Partitions wanted.
        to: i32,
    },
    /// Delete a topic with its records and create it again, smaller.
    Recreate {
        /// Topic as wanted.
        topic: ResolvedTopic,
        /// Partitions now.
        from: i32,
    },
    /// Set a setting, or take it away so that the cluster's own value holds.
    Set {
        /// Topic.
        topic: String,
        /// Setting.
        setting: String,
        /// Value now; empty for none.
        from: String,
        /// Value wanted.
        to: Option<String>,
    },
}

/// Something that will not be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Topic.
    pub topic: String,
    /// Why, and what to do instead.
    pub text: String,
}

/// What would be done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// In order.
    pub changes: Vec<Change>,
    /// What will not be done.
    pub refusals: Vec<Refusal>,
    /// Topics that are as they should be.
    pub unchanged: usize,
}

impl Plan {
    /// Whether the cluster is as it should be.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty() && self.refusals.is_empty()
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut subject = "";
        for change in &self.changes {
            match change {
                Change::Create(t) => {
                    let settings: Vec<_> = t.settings.iter().map(|(k, v)| format!("{k}={v}")).collect();
                    writeln!(f, "+ create {}", t.name)?;
                    writeln!(
                        f,
                        "    partitions {}, replication {}, {}",
                        t.partitions,
                        t.replication,
                        settings.join(", ")
                    )?;
                }
                Change::Grow { topic, from, to } => {
                    heading(f, &mut subject, topic)?;
                    writeln!(f, "    ~ change partitions {from} -> {to}")?;
                }
                Change::Recreate { topic, from } => {
                    writeln!(f, "- delete {} with its records and create it again", topic.name)?;
                    writeln!(f, "    partitions {from} -> {}", topic.partitions)?;
                }
                Change::Set { topic, setting, from, to } => {
                    heading(f, &mut subject, topic)?;
                    match to {
                        Some(to) => writeln!(f, "    ~ change {setting} {from} -> {to}")?,
                        None => writeln!(f, "    ~ remove {setting} (was {from})")?,
                    }
                }
            }
        }
        for r in &self.refusals {
            writeln!(f, "! refused: {}: {}", r.topic, r.text)?;
        }
        let created = self.changes.iter().filter(|c| matches!(c, Change::Create(_))).count();
        let changed = self.changes.len() - created;
        let (unchanged, refused) = (self.unchanged, self.refusals.len());
        write!(f, "Plan: {created} to create, {changed} to change, {refused} refused, {unchanged} as they should be.")
    }
}

fn heading<'p>(f: &mut fmt::Formatter<'_>, subject: &mut &'p str, topic: &'p str) -> fmt::Result {
    if *subject != topic {
        *subject = topic;
        writeln!(f, "~ {topic}")?;
    }
    Ok(())
}

/// What `wanted` asks of `cluster`.
#[must_use]
pub fn plan(wanted: &[ResolvedTopic], cluster: &Cluster, options: ApplyOptions) -> Plan {
    let mut plan = Plan::default();
    for topic in wanted {
        let Some(state) = cluster.topics.get(&topic.name) else {
            plan.changes.push(Change::Create(topic.clone()));
            continue;
        };
        let before = plan.changes.len() + plan.refusals.len();
        if !plan_count(&mut plan, topic, state, options) {
            plan_settings(&mut plan, topic, state, options);
        }
        if plan.changes.len() + plan.refusals.len() == before {
            plan.unchanged += 1;
        }
    }
    plan
}

/// Partitions and replicas; true when the topic is made anew, so that its settings need no change.
fn plan_count(plan: &mut Plan, topic: &ResolvedTopic, state: &TopicState, options: ApplyOptions) -> bool {
    let (from, to) = (state.partitions, topic.partitions);
    let mut refuse = |text: String| plan.refusals.push(Refusal { topic: topic.name.clone(), text });
    if state.replication != topic.replication {
        refuse(format!(
            "replication {} -> {}: move the replicas with kafka-reassign-partitions",
            state.replication, topic.replication
        ));
    }
    if from == to {
        return false;
    }
    match topic.fixed_count {
        Some(why) => {
            refuse(format!("partitions {from} -> {to}: {why}; make a new generation of the topic and reshard offline"));
            false
        }
        None if to > from => {
            plan.changes.push(Change::Grow { topic: topic.name.clone(), from, to });
            false
        }
        None if options.allow_data_loss => {
            plan.changes.push(Change::Recreate { topic: topic.clone(), from });
            true
        }
        None => {
            refuse(format!(
                "partitions {from} -> {to}: Kafka cannot shrink a topic, only delete it with its records; allow data loss to do so"
            ));
            false
        }
    }
}

fn plan_settings(plan: &mut Plan, topic: &ResolvedTopic, state: &TopicState, options: ApplyOptions) {
    for (setting, to) in &topic.settings {
        let from = state.settings.get(setting).map_or("", |v| v.value.as_str());
        if from == to {
            continue;
        }
        if !options.allow_data_loss && loses_records(setting, from, to) {
            plan.refusals.push(Refusal {
                topic: topic.name.clone(),
                text: format!("{setting} {from} -> {to}: deletes records; allow data loss to do so"),
            });
            continue;
        }
        plan.changes.push(Change::Set {
            topic: topic.name.clone(),
            setting: setting.clone(),
            from: from.to_owned(),
            to: Some(to.clone()),
        });
    }
    for (setting, value) in &state.settings {
        if value.origin == ConfigOrigin::Topic && !topic.settings.contains_key(setting) {
            plan.changes.push(Change::Set {
                topic: topic.name.clone(),
                setting: setting.clone(),
                from: value.value.clone(),
                to: None,
            });
        }
    }
}

fn loses_records(setting: &str, from: &str, to: &str) -> bool {
    match setting {
        "retention.ms" => match (from.parse::<i64>(), to.parse::<i64>()) {
            (Ok(from), Ok(to)) => to >= 0 && (from < 0 || to < from),
            (Ok(_) | Err(_), _) => true,
        },
        "cleanup.policy" => !from.is_empty(),
        _ => false,
    }
}

/// What a cluster has of `wanted`.
///
/// # Errors
/// [`ClientError::Retry`] when the cluster does not answer.
pub fn read_cluster(admin: &Admin, wanted: &[ResolvedTopic]) -> Result<Cluster, ClientError> {
    let names: Vec<&str> = wanted.iter().map(|t| t.name.as_str()).collect();
    let found = admin.describe(&names)?;
    let existing: Vec<&str> = found.keys().map(String::as_str).collect();
    let mut settings = admin.settings(&existing)?;
    let topics = found
        .into_iter()
        .map(|(name, info)| {
            let settings = settings.remove(&name).unwrap_or_default();
            (name, TopicState { partitions: info.partitions, replication: info.replication, settings })
        })
        .collect();
    Ok(Cluster { topics })
}

/// Makes the changes of a plan; its refusals are left as they are. Returns once every node of the cluster knows what was
/// made.
///
/// # Errors
/// The first change that fails; the ones before it are made, and planning again shows the rest.
pub fn apply(admin: &Admin, plan: &Plan) -> Result<(), ClientError> {
    let mut settings: BTreeMap<&str, Vec<(String, Option<String>)>> = BTreeMap::new();
    let mut made: Vec<(&str, i32)> = Vec::new();
    for change in &plan.changes {
        match change {
            Change::Create(t) | Change::Recreate { topic: t, .. } => made.push((&t.name, t.partitions)),
            Change::Grow { topic, to, .. } => made.push((topic, *to)),
            Change::Set { .. } => {}
        }
        match change {
            Change::Create(t) => admin.create(&t.name, t.partitions, t.replication, &t.settings)?,
            Change::Grow { topic, to, .. } => admin.grow(topic, *to)?,
            Change::Recreate { topic, .. } => {
                admin.delete(&topic.name)?;
                admin.create(&topic.name, topic.partitions, topic.replication, &topic.settings)?;
            }
            Change::Set { topic, setting, to, .. } => {
                settings.entry(topic).or_default().push((setting.clone(), to.clone()));
            }
        }
    }
    settings.into_iter().try_for_each(|(topic, changes)| admin.alter(topic, &changes))?;
    if made.is_empty() { Ok(()) } else { admin.await_everywhere(&made) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic(name: &str, partitions: i32, fixed: bool) -> ResolvedTopic {
        ResolvedTopic {
            name: name.into(),
            partitions,
            replication: 1,
            settings: BTreeMap::from([
                ("cleanup.policy".into(), "delete".into()),
                ("retention.ms".into(), "2000".into()),
            ]),
            fixed_count: fixed.then_some("state follows the key"),
        }
    }

    fn state(partitions: i32, retention: &str) -> TopicState {
        let value = |v: &str| ConfigValue { value: v.into(), origin: ConfigOrigin::Topic };
        TopicState {
            partitions,
            replication: 1,
            settings: BTreeMap::from([
                ("cleanup.policy".into(), value("delete")),
                ("retention.ms".into(), value(retention)),
            ]),
        }
    }

    fn planned(wanted: ResolvedTopic, is: TopicState, allow_data_loss: bool) -> Plan {
        let cluster = Cluster { topics: BTreeMap::from([(wanted.name.clone(), is)]) };
        plan(&[wanted], &cluster, ApplyOptions { allow_data_loss })
    }

    #[test]
    fn what_is_missing_is_created() {
        let p = plan(&[topic("t", 6, true)], &Cluster::default(), ApplyOptions::default());
        assert!(p.to_string().starts_with("+ create t\n    partitions 6, replication 1"), "{p}");
    }

    #[test]
    fn what_is_right_is_left_alone() {
        let p = planned(topic("t", 6, true), state(6, "2000"), false);
        assert!(p.is_empty());
        assert_eq!(p.unchanged, 1);
    }

    #[test]
    fn a_longer_retention_is_a_change_and_a_shorter_one_a_refusal() {
        let longer = planned(topic("t", 6, true), state(6, "1000"), false);
        assert!(longer.to_string().contains("~ t\n    ~ change retention.ms 1000 -> 2000"), "{longer}");
        let shorter = planned(topic("t", 6, true), state(6, "3000"), false);
        assert!(shorter.to_string().contains("! refused: t: retention.ms 3000 -> 2000: deletes records"), "{shorter}");
        assert!(shorter.changes.is_empty());
        assert_eq!(planned(topic("t", 6, true), state(6, "-1"), false).refusals.len(), 1);
        assert_eq!(planned(topic("t", 6, true), state(6, "3000"), true).changes.len(), 1);
    }

    #[test]
    fn a_keyed_state_input_never_changes_its_count() {
        for (from, allow) in [(3, false), (12, false), (3, true), (12, true)] {
            let p = planned(topic("t", 6, true), state(from, "2000"), allow);
            assert!(p.changes.is_empty(), "{p}");
            assert!(p.to_string().contains("state follows the key; make a new generation"), "{p}");
        }
    }

    #[test]
    fn other_topics_grow_and_shrink_only_when_told() {
        assert!(matches!(
            planned(topic("t", 6, false), state(3, "2000"), false).changes.as_slice(),
            [Change::Grow { from: 3, to: 6, .. }]
        ));
        assert_eq!(planned(topic("t", 6, false), state(12, "2000"), false).refusals.len(), 1);
        assert!(matches!(
            planned(topic("t", 6, false), state(12, "2000"), true).changes.as_slice(),
            [Change::Recreate { from: 12, .. }]
        ));
    }

    #[test]
    fn a_setting_that_the_file_does_not_name_is_removed_only_if_the_topic_has_it() {
        let mut is = state(6, "2000");
        is.settings.insert("segment.ms".into(), ConfigValue { value: "1".into(), origin: ConfigOrigin::Topic });
        is.settings.insert("flush.ms".into(), ConfigValue { value: "2".into(), origin: ConfigOrigin::Inherited });
        let p = planned(topic("t", 6, true), is, false);
        assert!(p.to_string().contains("~ remove segment.ms (was 1)"), "{p}");
        assert_eq!(p.changes.len(), 1);
    }
}
