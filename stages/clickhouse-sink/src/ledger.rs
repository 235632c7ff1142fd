//! What the sink keeps in Kafka for a partition: the committed offset, below which everything is in ClickHouse, and in
//! its metadata the bounds of the batch that may be on its way. Offset and bounds change in one transaction, so a
//! successor knows both from one answer; `sink.batches.v1` tells the same to everybody else.

use std::fmt::Write as _;

use sha2::{Digest, Sha256};

use crate::plan::{Attempt, Bounds, Destination};

/// Version of the metadata.
const VERSION: &str = "s1";
/// Version of how rows are made of records: part of every token.
pub(crate) const BATCH_FORMAT: &str = "avro1";

/// Metadata of a committed offset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ledger {
    /// UUID of the topic.
    pub(crate) topic_uuid: String,
    /// The batch that is not known to have landed.
    pub(crate) outstanding: Option<Bounds>,
}

impl Ledger {
    /// As the metadata string.
    pub(crate) fn to_text(&self) -> String {
        let mut text = format!("{VERSION};{}", self.topic_uuid);
        if let Some(b) = &self.outstanding {
            let destination = match b.destination {
                Destination::Landing => 'L',
                Destination::Unreadable => 'U',
            };
            let attempt = match b.attempt {
                Attempt::First => "F".to_owned(),
                Attempt::Repeat => "R".to_owned(),
                Attempt::Repair(n) => format!("P{n}"),
            };
            // Writing to a string cannot fail.
            let _ = write!(
                text,
                ";{destination};{};{};{};{:016x};{};{attempt}",
                b.first, b.last, b.count, b.hash, b.deadline_us
            );
        }
        text
    }

    /// `None`: not such metadata.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let parts: Vec<&str> = text.split(';').collect();
        let (uuid, outstanding) = match parts.as_slice() {
            [VERSION, uuid] => (uuid, None),
            [VERSION, uuid, destination, first, last, count, hash, deadline, attempt] => {
                let destination = match *destination {
                    "L" => Destination::Landing,
                    "U" => Destination::Unreadable,
                    _ => return None,
                };
                let attempt = match *attempt {
                    "F" => Attempt::First,
                    "R" => Attempt::Repeat,
                    other => Attempt::Repair(other.strip_prefix('P')?.parse().ok()?),
                };
                let bounds = Bounds {
                    destination,
                    first: first.parse().ok()?,
                    last: last.parse().ok()?,
                    count: count.parse().ok()?,
                    hash: u64::from_str_radix(hash, 16).ok()?,
                    deadline_us: deadline.parse().ok()?,
                    attempt,
                };
                (uuid, Some(bounds))
            }
            [..] => return None,
        };
        (!uuid.is_empty()).then(|| Self { topic_uuid: (*uuid).to_owned(), outstanding })
    }
}

/// `insert_deduplication_token` and `query_id` of an insert. ClickHouse drops a known token without comparing the data,
/// so everything that decides the data is in it.
pub(crate) fn token(topic_uuid: &str, partition: i32, table: &str, b: &Bounds) -> String {
    let text =
        format!("{BATCH_FORMAT};{table};{topic_uuid};{partition};{};{};{};{:016x}", b.first, b.last, b.count, b.hash);
    let mut token = String::from("fs-");
    for byte in Sha256::digest(text.as_bytes()).iter().take(16) {
        let _ = write!(token, "{byte:02x}");
    }
    if let Attempt::Repair(n) = b.attempt {
        let _ = write!(token, "-{n}");
    }
    token
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bounds(attempt: Attempt) -> Bounds {
        Bounds {
            destination: Destination::Unreadable,
            first: 5,
            last: 90,
            count: 80,
            hash: 0xfedc_ba98_7654_3210,
            deadline_us: 1_790_000_000_123_456,
            attempt,
        }
    }

    #[test]
    fn metadata_comes_back_as_it_was() {
        let attempts = [Attempt::First, Attempt::Repeat, Attempt::Repair(12)];
        for outstanding in attempts.map(|a| Some(bounds(a))).into_iter().chain([None]) {
            let ledger = Ledger { topic_uuid: "Zm9v-_".into(), outstanding };
            assert_eq!(Ledger::parse(&ledger.to_text()), Some(ledger));
        }
    }

    #[test]
    fn other_metadata_is_refused() {
        for text in [
            "",
            "s1;",
            "s2;x",
            "v1;3;x",
            "s1;x;L;1;2",
            "s1;x;Q;1;2;3;0a;4;F",
            "s1;x;L;1;2;3;zz;4;F",
            "s1;x;L;1;2;3;0a;4;P",
        ] {
            assert_eq!(Ledger::parse(text), None, "{text}");
        }
    }

    #[test]
    fn whatever_decides_the_rows_is_in_the_token() {
        let b = bounds(Attempt::First);
        let base = token("u", 1, "t", &b);
        assert_eq!(token("u", 1, "t", &bounds(Attempt::Repeat)), base, "the same rows again");
        let others = [
            token("v", 1, "t", &b),
            token("u", 2, "t", &b),
            token("u", 1, "s", &b),
            token("u", 1, "t", &Bounds { first: 4, ..b }),
            token("u", 1, "t", &Bounds { last: 91, ..b }),
            token("u", 1, "t", &Bounds { count: 81, ..b }),
            token("u", 1, "t", &Bounds { hash: 1, ..b }),
            token("u", 1, "t", &bounds(Attempt::Repair(1))),
            token("u", 1, "t", &bounds(Attempt::Repair(2))),
        ];
        for (i, other) in others.iter().enumerate() {
            assert_ne!(*other, base, "{i}");
            assert!(!others[..i].contains(other), "{i}");
        }
        assert_eq!(token("u", 1, "t", &Bounds { deadline_us: 0, ..b }), base, "a new deadline, the same rows");
    }
}
