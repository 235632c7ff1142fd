//! The kinds of faults.

/// How often a kind comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cost {
    /// Every few seconds, beside everything else.
    Cheap,
    /// Every minute, one at a time.
    Expensive,
    /// Once, when all else is done: nothing runs behind it.
    Last,
}

impl Cost {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Cheap => "cheap",
            Self::Expensive => "expensive",
            Self::Last => "last",
        }
    }
}

/// What a process is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Groups of stages.
    Stages,
    /// Broker sessions.
    Gateway,
    /// ClickHouse.
    Sink,
}

macro_rules! kinds {
    ($($(#[doc = $doc:literal])+ $kind:ident = $name:literal, $cost:ident;)+) => {
        /// A kind of fault.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Kind {
            $($(#[doc = $doc])+ $kind,)+
        }

        impl Kind {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$kind,)+];

            /// Its name.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$kind => $name,)+
                }
            }

            /// How often it comes.
            #[must_use]
            pub const fn cost(self) -> Cost {
                match self {
                    $(Self::$kind => Cost::$cost,)+
                }
            }
        }
    };
}

kinds! {
    /// kill -9 of a stage process: a transaction is begun.
    KillBeforeProduce = "kill/engine.before-produce", Cheap;
    /// Its records are with the client.
    KillAfterProduce = "kill/engine.after-produce", Cheap;
    /// Its offsets are in the transaction.
    KillAfterOffsets = "kill/engine.after-offsets", Cheap;
    /// It is committed.
    KillAfterCommit = "kill/engine.after-commit", Cheap;
    /// kill -9 of a gateway: its intents are written, not committed.
    KillGatewayBeforeCommit = "kill/gateway.before-commit", Cheap;
    /// Its intents are committed.
    KillGatewayAfterIntentCommit = "kill/gateway.after-intent-commit", Cheap;
    /// Nothing is checked.
    KillGatewayBeforeSend = "kill/gateway.before-send", Cheap;
    /// The last check has passed.
    KillGatewayBetweenCheckAndWrite = "kill/gateway.between-check-and-write", Cheap;
    /// The venue has the order.
    KillGatewayAfterSend = "kill/gateway.after-send", Cheap;
    /// The venue's answers are known.
    KillGatewayBeforeAnswerCommit = "kill/gateway.before-answer-commit", Cheap;
    /// kill -9 of a sink: bounds are made.
    KillSinkBeforeBounds = "kill/sink.before-bounds-commit", Cheap;
    /// Bounds are committed.
    KillSinkBeforeInsert = "kill/sink.before-insert", Cheap;
    /// ClickHouse has answered.
    KillSinkAfterInsert = "kill/sink.after-insert", Cheap;
    /// The offset behind the batch is committed.
    KillSinkAfterAcknowledgement = "kill/sink.after-acknowledgement", Cheap;
    /// Every connection between a process and a node is cut.
    LinkCut = "link/cut", Cheap;
    /// A process's answers from all nodes come late.
    LinkDelay = "link/delay", Cheap;
    /// Connections are half closed.
    LinkHalfClose = "link/half-close", Cheap;
    /// Requests do not arrive for a moment.
    LinkHoldRequests = "link/hold-requests", Cheap;
    /// Responses do not arrive for a moment.
    LinkHoldResponses = "link/hold-responses", Cheap;
    /// ClickHouse is slow.
    ClickHouseSlow = "clickhouse/slow", Cheap;
    /// ClickHouse carries inserts out and answers 500.
    ClickHouseFailure = "clickhouse/500-after-commit", Cheap;
    /// ClickHouse carries inserts out, its answer is lost.
    ClickHouseNoAnswer = "clickhouse/answer-lost", Cheap;

    /// SIGSTOP of a stage process beyond its session, while another takes over.
    StopStages = "stop/stages-beyond-session", Expensive;
    /// SIGSTOP of a gateway between its last check and its write, while a successor takes over.
    StopGateway = "stop/gateway-between-check-and-write", Expensive;
    /// SIGSTOP of a sink beyond the deadline of its insert and the deduplication window.
    StopSink = "stop/sink-beyond-deduplication", Expensive;
    /// kill -9 of the leader of a partition.
    KillLeader = "node/kill-leader", Expensive;
    /// kill -9 of a transaction coordinator.
    KillTransactionCoordinator = "node/kill-transaction-coordinator", Expensive;
    /// kill -9 of a group coordinator.
    KillGroupCoordinator = "node/kill-group-coordinator", Expensive;
    /// SIGSTOP of a node beyond its session.
    StopNode = "node/stop", Expensive;
    /// A process and a partition's leader do not reach each other.
    PartitionLeader = "partition/stage-leader", Expensive;
    /// A process and its coordinators do not reach each other, or one of them not the other.
    PartitionCoordinator = "partition/stage-coordinator", Expensive;
    /// A node and the others do not reach each other, or not one way.
    PartitionNodes = "partition/node-node", Expensive;
    /// An EndTxn arrives after its retry, in the next transaction (KAFKA-17754).
    LateEndTxn = "protocol/late-end-txn", Expensive;
    /// The registry does not answer those who know their schemas.
    RegistryWarm = "registry/down-warm", Expensive;
    /// The registry does not answer one that starts.
    RegistryCold = "registry/down-cold", Expensive;
    /// A producer registers a newer version of a contract and writes with it from then on.
    NewSchemaVersion = "schema/new-version", Expensive;
    /// Records that nobody can read.
    Poison = "records/poison", Expensive;
    /// The firm is killed under load and released.
    KillSwitch = "operator/kill-switch", Expensive;
    /// Instances come and go.
    RebalanceStorm = "members/rebalance-storm", Expensive;
    /// An instance is gone for good in an open transaction.
    Orphan = "members/orphaned-transaction", Expensive;
    /// Every process is replaced by one of another binary file, one after the other.
    RollingUpgrade = "operator/rolling-upgrade", Expensive;
    /// The order path is cut, or fused again.
    Regroup = "operator/regroup", Expensive;
    /// The OS clock jumps an hour ahead for the engine.
    ClockJump = "clock/an-hour-ahead", Expensive;
    /// The disk of a Kafka node is full.
    DiskFullKafka = "disk/full-under-kafka", Expensive;
    /// The disk of ClickHouse is full. It may leave parts that are not whole (see the reports), so nothing comes behind it
    /// but a drain with an audit.
    DiskFullClickHouse = "disk/full-under-clickhouse", Last;
    /// A topic is deleted and made again.
    TopicRecreated = "topics/recreated", Last;
    /// Partitions are added to an input whose keys have state.
    PartitionsAdded = "topics/partitions-added", Last;
}

impl Kind {
    /// How often it is to be felt over all recorded runs of a commit, at least.
    #[must_use]
    pub const fn wanted(self) -> u64 {
        match (self, self.cost()) {
            (_, Cost::Cheap) => 20,
            (Self::DiskFullKafka | Self::RollingUpgrade, _) | (_, Cost::Last) => 5,
            (_, Cost::Expensive) => 2,
        }
    }

    /// The kind of a name.
    #[must_use]
    pub fn of(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| kind.name() == name)
    }

    /// Whether it needs file systems of its own, which are small.
    #[must_use]
    pub fn needs_small_disks(self) -> bool {
        matches!(self, Self::DiskFullKafka | Self::DiskFullClickHouse)
    }

    /// The fail point at which it kills, and who reaches that.
    #[must_use]
    pub fn kills_at(self) -> Option<(Role, &'static str)> {
        let point = self.name().strip_prefix("kill/")?;
        let role = match point.split('.').next()? {
            "engine" => Role::Stages,
            "gateway" => Role::Gateway,
            _ => Role::Sink,
        };
        Some((role, point))
    }

    /// Whether it needs a program that was built with fail points.
    #[must_use]
    pub fn needs_fail_points(self) -> bool {
        let others = [Self::StopGateway, Self::StopSink, Self::Orphan, Self::ClockJump];
        self.kills_at().is_some() || others.contains(&self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_distinct_and_found_again() {
        let names: std::collections::BTreeSet<&str> = Kind::ALL.iter().map(|k| k.name()).collect();
        assert_eq!(names.len(), Kind::ALL.len());
        for kind in Kind::ALL {
            assert_eq!(Kind::of(kind.name()), Some(*kind));
        }
        assert_eq!(Kind::KillSinkBeforeInsert.kills_at(), Some((Role::Sink, "sink.before-insert")));
        assert_eq!(Kind::StopNode.kills_at(), None);
    }
}
