//! Records that nobody can read, and records of a newer version of their contract, in an input of the stages.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use fillstream_schemas::AvroRecord as _;
use fillstream_schemas::engine::DeadLetter;
use fillstream_schemas::wire;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use rdkafka::{ClientConfig, Message as _, Offset, TopicPartitionList};

use super::Outcome;
use crate::error::ChaosError;
use crate::http;
use crate::kind::Role;
use crate::rig::Rig;
use crate::seeded::Seeded;

const INPUT: &str = "coordination.decisions.v1";
const LETTERS: &str = "order-management.dlq";
const PARTITIONS: i32 = 9;
const NEW_VERSION_FOR: Duration = Duration::from_secs(4);
const LARGE: usize = 10 << 20;
const WAIT: Duration = Duration::from_secs(20);

/// What was written where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Poisoned {
    what: &'static str,
    partition: i32,
    offset: i64,
}

/// Schema id of the input's values.
fn schema_id(rig: &Rig<'_>) -> Result<u32, ChaosError> {
    let url = format!("{}/subjects/{INPUT}-value/versions/latest", rig.world.endpoints.registry);
    let (_, text) = http::ask("GET", &url, "")?;
    let found = serde_json::from_str::<serde_json::Value>(&text).ok();
    let id = found.and_then(|v| v.get("id")?.as_u64()).and_then(|id| u32::try_from(id).ok());
    id.ok_or(ChaosError::Answer { what: url, detail: text })
}

/// One of each kind of unreadable record.
pub(super) fn poison(rig: &mut Rig<'_>, seeded: &mut Seeded) -> Result<Outcome, ChaosError> {
    let id = schema_id(rig)?.to_be_bytes();
    let framed = |id: [u8; 4], body: &[u8]| [&[0_u8], id.as_slice(), body].concat();
    let values: [(&'static str, Vec<u8>); 4] = [
        ("bad magic", [&[7_u8], id.as_slice(), b"whatever"].concat()),
        ("unknown schema", framed([0x7f, 0xff, 0xff, 0xff], b"whatever")),
        ("truncated", framed(id, b"\x06abc")),
        ("10 MB", framed(id, &vec![0xff; LARGE])),
    ];
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", rig.world.kafka.bootstrap())
        .set("client.id", "chaos")
        .set("acks", "all")
        .set("enable.idempotence", "true")
        .set("message.max.bytes", "12000000")
        .create()
        .map_err(ChaosError::kafka("making a producer"))?;
    let mut written = Vec::new();
    for (what, value) in &values {
        let partition = i32::try_from(seeded.below(9)).unwrap_or(0);
        let before = end_of(rig, partition)?;
        let record: BaseRecord<'_, str, [u8]> = BaseRecord::to(INPUT).partition(partition).key("poison").payload(value);
        let sent = producer.send(record).map_err(|(e, _)| e);
        sent.and_then(|()| producer.flush(WAIT)).map_err(ChaosError::kafka(format!("writing {what}")))?;
        written.push((*what, partition, before, value.clone()));
    }
    let mut found = 0;
    for (what, partition, from, value) in written {
        // Decisions are written beside it: its place is where its bytes are.
        if let Some(offset) = place_of(rig, partition, from, &value)? {
            rig.poison.push(Poisoned { what, partition, offset });
            found += 1;
        }
    }
    rig.pass(Duration::from_secs(2))?;
    if found < values.len() {
        return Ok(Outcome::missed(format!("only {found} of {} were taken in by Kafka", values.len())));
    }
    Ok(Outcome::fired(rig.groups_of(Role::Stages), format!("{found} records in {INPUT}")))
}

/// The load registers a version of the decisions with one optional field more, and writes with it from then on.
pub(super) fn new_version(rig: &mut Rig<'_>) -> Result<Outcome, ChaosError> {
    rig.world.load.say("evolve")?;
    let said = rig.world.load.hear("evolved", WAIT)?;
    let Some(id) = said.strip_prefix("evolved to schema ").and_then(|id| id.trim().parse::<u32>().ok()) else {
        return Ok(Outcome::missed(said));
    };
    // What is there now may be of the version before.
    let before = (0..PARTITIONS).map(|partition| end_of(rig, partition)).collect::<Result<Vec<_>, _>>()?;
    rig.pass(NEW_VERSION_FOR)?;
    let groups = rig.groups_of(Role::Stages);
    let mut found = 0_u32;
    for (partition, from) in (0..PARTITIONS).zip(before) {
        read(rig, (INPUT, partition, Offset::Offset(from)), |_, value| {
            found += u32::from(wire::split(value).is_ok_and(|(written, _)| written == id));
            false
        })?;
    }
    if found == 0 {
        return Ok(Outcome::missed(format!("nothing was written with schema {id} in {NEW_VERSION_FOR:?}")));
    }
    Ok(Outcome::fired(groups, format!("{found} decisions of schema {id} in {NEW_VERSION_FOR:?}")))
}

fn reader(rig: &Rig<'_>) -> Result<BaseConsumer, ChaosError> {
    ClientConfig::new()
        .set("bootstrap.servers", rig.world.kafka.bootstrap())
        .set("group.id", "chaos")
        .set("enable.auto.commit", "false")
        .set("isolation.level", "read_committed")
        .set("enable.partition.eof", "true")
        .set("fetch.message.max.bytes", "12000000")
        .create()
        .map_err(ChaosError::kafka("making a reader"))
}

fn end_of(rig: &Rig<'_>, partition: i32) -> Result<i64, ChaosError> {
    let asked = reader(rig)?.fetch_watermarks(INPUT, partition, WAIT);
    Ok(asked.map_err(ChaosError::kafka(format!("asking for the end of {INPUT}")))?.1)
}

/// Reads a partition from an offset to its end.
fn read(
    rig: &Rig<'_>,
    (topic, partition, from): (&str, i32, Offset),
    mut visit: impl FnMut(i64, &[u8]) -> bool,
) -> Result<(), ChaosError> {
    let reader = reader(rig)?;
    let mut list = TopicPartitionList::new();
    let action = || format!("reading {topic}-{partition}");
    list.add_partition_offset(topic, partition, from).map_err(ChaosError::kafka(action()))?;
    reader.assign(&list).map_err(ChaosError::kafka(action()))?;
    let deadline = Instant::now() + WAIT;
    while Instant::now() < deadline {
        match reader.poll(Duration::from_millis(200)) {
            Some(Ok(message)) if visit(message.offset(), message.payload().unwrap_or_default()) => return Ok(()),
            None | Some(Ok(_)) => {}
            Some(Err(KafkaError::PartitionEOF(_))) => return Ok(()),
            Some(Err(source)) => return Err(ChaosError::Kafka { action: action(), source }),
        }
    }
    Err(ChaosError::Timeout { what: action(), limit: WAIT, detail: String::new() })
}

fn place_of(rig: &Rig<'_>, partition: i32, from: i64, value: &[u8]) -> Result<Option<i64>, ChaosError> {
    let mut place = None;
    read(rig, (INPUT, partition, Offset::Offset(from)), |offset, found| {
        place = (found == value).then_some(offset);
        place.is_some()
    })?;
    Ok(place)
}

/// Every poisoned record has exactly one dead letter.
pub(crate) fn judge_poison(rig: &mut Rig<'_>) -> Result<(), ChaosError> {
    if rig.poison.is_empty() {
        return Ok(());
    }
    let mut letters: BTreeMap<(i32, i64), u32> = BTreeMap::new();
    let mut unreadable = Vec::new();
    read(rig, (LETTERS, 0, Offset::Beginning), |offset, value| {
        match wire::split(value)
            .map_err(|e| e.to_string())
            .and_then(|(_, bytes)| DeadLetter::decode(bytes).map_err(|e| e.to_string()))
        {
            Ok(letter) if letter.topic == INPUT => {
                *letters.entry((letter.partition, letter.offset)).or_default() += 1;
            }
            Ok(_) => {}
            Err(error) => unreadable.push(format!("{LETTERS} {offset}: {error}")),
        }
        false
    })?;
    let wrong = rig.poison.iter().filter_map(|p| {
        let count = letters.get(&(p.partition, p.offset)).copied().unwrap_or(0);
        (count != 1).then(|| format!("{} at {INPUT}-{} {}: {count} dead letters", p.what, p.partition, p.offset))
    });
    let wrong: Vec<String> = wrong.chain(unreadable).collect();
    let examined = u64::try_from(rig.poison.len()).unwrap_or(u64::MAX);
    let violations = u64::try_from(wrong.len()).unwrap_or(u64::MAX);
    rig.tally.judge_all("poison_is_dead_lettered_once", examined, violations, wrong);
    Ok(())
}
