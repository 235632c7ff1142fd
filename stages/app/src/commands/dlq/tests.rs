//! Retries on a real Kafka and registry: those that the environment names, or the test's own.

use std::path::PathBuf;

use fillstream_core::lineage::Lineage;
use fillstream_core::record::header;
use fillstream_deploy::{Launcher, LocalConfig, Service, down, up};

use super::*;
use crate::config::Sources;

const DECISIONS: &str = "coordination.decisions.v1";

/// Services of the test's own end with this value.
struct Services(Option<(LocalConfig, PathBuf)>);

impl Drop for Services {
    fn drop(&mut self) {
        if let Some((config, data)) = &self.0 {
            let _ = down(config, &|_| {});
            let _ = std::fs::remove_dir_all(data);
        }
    }
}

fn services() -> (Services, Config) {
    let given = |s: Service| std::env::var(s.variable()).ok().filter(|v| !v.is_empty());
    if Service::ALL.into_iter().all(|s| given(s).is_some()) {
        return (Services(None), Config::load(&Sources::default()).unwrap());
    }
    let program = std::env::current_exe().unwrap().with_file_name("../fillstream-local");
    assert!(program.exists(), "cargo build -p fillstream-deploy, or name running services in the environment");
    let launcher = Launcher { program, args: vec!["serve-clickhouse".into()] };
    let mut local = LocalConfig::from_vars(|name| std::env::var_os(name), launcher).unwrap();
    local.data = std::env::temp_dir().join(format!("fillstream-dlq-{}", std::process::id()));
    let services = Services(Some((local.clone(), local.data.clone())));
    let endpoints = up(&local, &|_| {}).unwrap();
    let set = [
        format!("kafka.bootstrap_servers={}", endpoints.kafka),
        format!("registry.url={}", endpoints.registry),
        format!("clickhouse.url={}", endpoints.clickhouse),
    ];
    (services, Config::load(&Sources { file: None, set: set.to_vec() }).unwrap())
}

/// Records of a topic under a lineage.
fn under(cluster: &Cluster, topic: &str, lineage: Lineage) -> Vec<Received> {
    let mut records = Vec::new();
    each(cluster, topic, From::Beginning, true, |record| {
        if record.header(header::LINEAGE) == Some(lineage.as_bytes()) {
            records.push(record);
        }
        Ok(true)
    })
    .unwrap();
    records
}

#[test]
fn a_retry_writes_the_record_once_until_it_fails_again() {
    let (_services, config) = services();
    let cluster = Cluster::new(&config).unwrap();
    crate::commands::apply_topics(&cluster, &config).unwrap();
    let lineage = Lineage::root(DECISIONS, &format!("dlq-{}", crate::bus::now_us()));
    let bytes = vec![0, 0xff, 0xff, 0xff, 0xff, 7, 8];
    let letter = DeadLetter {
        topic: DECISIONS.to_owned(),
        partition: 2,
        offset: crate::bus::now_us(),
        stage: "order-management".to_owned(),
        reason_code: "UNKNOWN_SCHEMA_ID".to_owned(),
        lineage: lineage.to_string(),
        key: Some(b"P1".to_vec()),
        value_size: i64::try_from(bytes.len()).unwrap(),
        value: bytes.clone(),
        ..DeadLetter::default()
    };
    let dlq = dead_letter_topic("order-management");
    let fail = |letter: &DeadLetter| {
        let mut writer = cluster.writer().unwrap();
        writer.send_to(&dlq, 0, "P1", letter).unwrap();
        writer.flush().unwrap();
    };
    let select = DlqSelect { place: format!("{DECISIONS}-2:{}", letter.offset), json: false };
    let retry = || {
        let why = retry::Why { actor: "ann".to_owned(), reason: "the schema is registered now".to_owned() };
        retry::run(&cluster, &config, &select, &why).unwrap()
    };
    fail(&letter);
    show(&cluster, &letters(&cluster, &config).unwrap(), &select).unwrap();
    assert_eq!(retry(), ExitCode::SUCCESS);
    // The commit is answered before its marker stands in the partition.
    let look = |_| {
        std::thread::park_timeout(std::time::Duration::from_millis(50));
        under(&cluster, DECISIONS, lineage)
    };
    let records = (0..400).map(look).find(|records| !records.is_empty()).unwrap_or_default();
    let [record] = &records[..] else { panic!("{records:?}") };
    assert_eq!((record.partition, record.key.as_deref()), (2, Some(b"P1".as_slice())));
    assert_eq!(record.value.as_ref(), Some(&bytes), "the same bytes");

    // Once more: the last word on the lineage is the retry.
    assert_eq!(retry(), ExitCode::SUCCESS);
    assert_eq!(under(&cluster, DECISIONS, lineage).len(), 1);
    let of_lineage = |found: &Found| found.letter.lineage == lineage.to_string();
    let notes: Vec<Found> = letters(&cluster, &config).unwrap().into_iter().filter(of_lineage).collect();
    let codes: Vec<&str> = notes.iter().map(|f| f.letter.reason_code.as_str()).collect();
    assert_eq!(codes, ["UNKNOWN_SCHEMA_ID", RETRIED]);
    assert_eq!(notes[1].letter.reason_text, "retried by ann: the schema is registered now");

    // It failed again: it may be tried again.
    fail(&letter);
    assert_eq!(retry(), ExitCode::SUCCESS);
    assert_eq!(under(&cluster, DECISIONS, lineage).len(), 2);

    // What was not kept whole cannot be written again.
    fail(&DeadLetter { value_size: 70_000, ..letter.clone() });
    assert_eq!(retry(), ExitCode::from(1));
    assert_eq!(under(&cluster, DECISIONS, lineage).len(), 2);
    let nothing = DlqSelect { place: "no.such.topic".to_owned(), json: false };
    assert!(chosen(&letters(&cluster, &config).unwrap(), &nothing).is_err());
}
