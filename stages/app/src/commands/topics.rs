//! `fillstream topics`.

use std::process::ExitCode;

use fillstream_kafka::topics::{ApplyOptions, ResolvedTopic, apply as apply_plan, plan, read_cluster};

mod describe;

use crate::bus::Cluster;
use crate::cli::{TopicChanges, Topics};
use crate::config::Config;
use crate::registry::groups;

pub(crate) fn run(command: Topics, config: &Config) -> anyhow::Result<ExitCode> {
    let cluster = Cluster::new(config)?;
    let (changes, write) = match command {
        Topics::Describe(args) => return describe::run(&args, &cluster, &wanted(&cluster, config)?),
        Topics::Plan(changes) => (changes, false),
        Topics::Apply(changes) => (changes, true),
    };
    let TopicChanges { allow_data_loss } = changes;
    let options = ApplyOptions { allow_data_loss };
    let wanted = wanted(&cluster, config)?;
    let plan = plan(&wanted, &read_cluster(cluster.kafka.admin(), &wanted)?, options);
    println!("{plan}");
    if write {
        apply_plan(cluster.kafka.admin(), &plan)?;
    }
    Ok(ExitCode::from(u8::from(!plan.refusals.is_empty())))
}

/// Every topic of topics.yaml and of the engine, as the profile wants it.
///
/// # Errors
/// A faulty configuration.
pub fn wanted(cluster: &Cluster, config: &Config) -> anyhow::Result<Vec<ResolvedTopic>> {
    let groups = groups(&config.stages, &config.run.split)?;
    let partitions = |g: &fillstream_core::group::Group| {
        let topic = g.subscriptions().first().map(|s| s.input.topic);
        topic.and_then(|t| cluster.catalog.partitions(t, cluster.profile)).unwrap_or(cluster.profile.partitions)
    };
    let mut names: Vec<(&str, i32)> = groups.iter().map(|g| (g.name(), partitions(g))).collect();
    let sessions = cluster.catalog.partitions("execution.child-orders.v1", cluster.profile).unwrap_or(1);
    names.push(("broker-gateway", sessions));
    let mut stages: Vec<&str> = groups.iter().flat_map(|g| g.stages()).map(|s| s.spec().name).collect();
    stages.push("broker-gateway");
    Ok(cluster.catalog.resolve(cluster.profile, &names, &stages))
}

/// Makes the cluster like topics.yaml.
///
/// # Errors
/// Something is refused, or the cluster does not answer.
pub fn apply(cluster: &Cluster, config: &Config) -> anyhow::Result<()> {
    let wanted = wanted(cluster, config)?;
    let plan = plan(&wanted, &read_cluster(cluster.kafka.admin(), &wanted)?, ApplyOptions::default());
    anyhow::ensure!(plan.refusals.is_empty(), "{plan}");
    Ok(apply_plan(cluster.kafka.admin(), &plan)?)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use fillstream_kafka::topics::check_declarations;

    use crate::bus::catalog;
    use crate::registry::{groups, paths};

    #[test]
    fn topics_yaml_agrees_with_what_the_stages_declare() {
        let (catalog, groups) = (catalog().unwrap(), groups(&BTreeMap::new(), &BTreeMap::new()).unwrap());
        for profile in ["local", "default"] {
            let faults = check_declarations(&catalog, catalog.profile(profile).unwrap(), &groups);
            let faults: Vec<String> = faults.iter().map(|f| format!("{}: {}", f.subject, f.text)).collect();
            assert_eq!(faults, Vec::<String>::new());
        }
    }

    #[test]
    fn every_path_can_be_cut_anywhere() {
        let stages = [
            "order-management",
            "pre-trade-risk",
            "account-allocation",
            "execution-strategy",
            "smart-order-routing",
            "child-risk",
        ];
        for cut in 1..stages.len() {
            let (a, b) = stages.split_at(cut);
            let part = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
            let split = BTreeMap::from([("order-path".to_owned(), vec![part(a), part(b)])]);
            assert_eq!(groups(&BTreeMap::new(), &split).unwrap().len(), paths().len() + 1);
        }
    }
}
