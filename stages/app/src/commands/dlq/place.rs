//! `TOPIC[-PARTITION[:OFFSET]]`.

use std::str::FromStr;

/// A topic, a partition of it, or a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    topic: String,
    partition: Option<i32>,
    offset: Option<i64>,
}

impl Place {
    pub(super) fn holds(&self, topic: &str, partition: i32, offset: i64) -> bool {
        self.topic == topic && self.partition.is_none_or(|p| p == partition) && self.offset.is_none_or(|o| o == offset)
    }
}

impl FromStr for Place {
    type Err = String;

    // Names of topics hold dashes themselves: only a number behind the last one is a partition. The at sign is how
    // `dlq list` prints a place.
    fn from_str(text: &str) -> Result<Self, String> {
        let (head, offset) = match text.rsplit_once([':', '@']) {
            Some((head, offset)) => (head, Some(offset.parse().map_err(|_| format!("{offset:?} is no offset"))?)),
            None => (text, None),
        };
        let parts = head.rsplit_once('-').and_then(|(topic, p)| Some((topic, p.parse::<i32>().ok()?)));
        match (parts, offset) {
            (Some((topic, partition)), offset) if !topic.is_empty() => {
                Ok(Self { topic: topic.to_owned(), partition: Some(partition), offset })
            }
            (_, Some(_)) => Err(format!("{text:?}: an offset needs a partition: TOPIC-PARTITION:OFFSET")),
            (_, None) if head.is_empty() => Err("no topic is named".to_owned()),
            (_, None) => Ok(Self { topic: head.to_owned(), partition: None, offset: None }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(topic: &str, partition: Option<i32>, offset: Option<i64>) -> Place {
        Place { topic: topic.to_owned(), partition, offset }
    }

    #[test]
    fn topics_with_dashes_are_told_from_partitions() {
        for (text, expected) in [
            ("order-management.dlq", place("order-management.dlq", None, None)),
            ("execution.child-orders.v1", place("execution.child-orders.v1", None, None)),
            ("execution.child-orders.v1-3", place("execution.child-orders.v1", Some(3), None)),
            ("execution.child-orders.v1-3:17", place("execution.child-orders.v1", Some(3), Some(17))),
            ("order-management.dlq-0@5", place("order-management.dlq", Some(0), Some(5))),
        ] {
            assert_eq!(text.parse(), Ok(expected), "{text}");
        }
        for text in ["", "topic:5", "topic-x:5", "topic-1:x", ":5", "-1:5"] {
            assert!(text.parse::<Place>().is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_not_said_holds_everything() {
        assert!(place("t", None, None).holds("t", 4, 9) && place("t", Some(4), None).holds("t", 4, 9));
        assert!(!place("t", Some(4), Some(9)).holds("t", 4, 8) && !place("t", None, None).holds("u", 4, 9));
    }
}
