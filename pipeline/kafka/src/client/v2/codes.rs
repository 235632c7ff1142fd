//! What the error codes of Kafka mean to a producer of transactions.

use kafka_protocol::ResponseError as E;

/// What to do about an error code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Done, now or before.
    Done,
    /// The same again, soon.
    Again,
    /// The same again, at the place that is right now.
    Elsewhere,
    /// The transaction cannot commit.
    Abort,
    /// Somebody else has the transactional id.
    Fenced,
    /// Only a new producer is certain.
    Fatal,
}

/// The verdict about an error code.
#[expect(clippy::wildcard_enum_match_arm, reason = "Kafka has over a hundred, and adds some with each release")]
pub(super) fn judge(code: i16) -> Verdict {
    let Some(error) = E::try_from_code(code) else { return Verdict::Done };
    match error {
        // A repeated batch whose first answer was lost.
        E::DuplicateSequenceNumber => Verdict::Done,
        E::ConcurrentTransactions
        | E::CoordinatorLoadInProgress
        | E::NotEnoughReplicas
        | E::NotEnoughReplicasAfterAppend
        | E::RequestTimedOut
        | E::NetworkException
        | E::ThrottlingQuotaExceeded => Verdict::Again,
        E::CoordinatorNotAvailable
        | E::NotCoordinator
        | E::NotLeaderOrFollower
        | E::LeaderNotAvailable
        | E::UnknownTopicOrPartition
        | E::FencedLeaderEpoch
        | E::UnknownLeaderEpoch
        | E::KafkaStorageError => Verdict::Elsewhere,
        // Whoever raises the epoch, a successor or the coordinator on a timeout, ends the transaction as aborted: to the
        // coordinator a commit that comes after it is a repeat with another outcome, in the wrong state.
        E::InvalidProducerEpoch | E::ProducerFenced | E::InvalidTxnState => Verdict::Fenced,
        E::InvalidProducerIdMapping
        | E::OutOfOrderSequenceNumber
        | E::UnknownProducerId
        | E::UnsupportedVersion
        | E::TransactionalIdAuthorizationFailed
        | E::ClusterAuthorizationFailed => Verdict::Fatal,
        // Also what refuses offsets of a former member, FencedInstanceId among it: the client may only have joined again.
        _ => Verdict::Abort,
    }
}

/// A code in words.
pub(super) fn words(code: i16) -> String {
    E::try_from_code(code).map_or_else(|| "no error".to_owned(), |error| format!("{error:?} ({code})"))
}
