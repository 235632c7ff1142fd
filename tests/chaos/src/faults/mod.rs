//! The faults: each injects, heals, and says what shows that it was felt.

mod cheap;
mod machine;
mod members;
mod nodes;
mod operator;
mod records;
mod services;
mod stops;
mod topics;

pub(crate) use cheap::{Cheap, begin, poll};
pub(crate) use records::{Poisoned, judge_poison};

use crate::error::ChaosError;
use crate::kind::Kind;
use crate::rig::Rig;
use crate::seeded::Seeded;

/// What came of a fault.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// It was felt, and is healed now.
    Fired {
        /// Who must move on.
        groups: Vec<String>,
        /// The evidence.
        note: String,
    },
    /// It was not felt.
    Missed(String),
}

impl Outcome {
    fn fired(groups: Vec<String>, note: impl Into<String>) -> Self {
        Self::Fired { groups, note: note.into() }
    }

    fn missed(why: impl Into<String>) -> Self {
        Self::Missed(why.into())
    }
}

/// Carries out an expensive fault, from its injection to its heal.
pub(crate) fn carry_out(rig: &mut Rig<'_>, kind: Kind, draw: u64) -> Result<Outcome, ChaosError> {
    let mut seeded = Seeded::new(draw, kind.name());
    match kind {
        Kind::StopStages => stops::stages(rig, &mut seeded),
        Kind::StopGateway => stops::gateway(rig, &mut seeded),
        Kind::StopSink => stops::sink(rig, &mut seeded),
        Kind::KillLeader | Kind::KillTransactionCoordinator | Kind::KillGroupCoordinator => {
            nodes::kill(rig, kind, &mut seeded)
        }
        Kind::StopNode => nodes::stop(rig, &mut seeded),
        Kind::PartitionLeader | Kind::PartitionCoordinator => nodes::partition(rig, kind, &mut seeded),
        Kind::PartitionNodes => nodes::partition_nodes(rig, &mut seeded),
        Kind::LateEndTxn => nodes::late_end_txn(rig, &mut seeded),
        Kind::RegistryWarm => services::registry_warm(rig, &mut seeded),
        Kind::RegistryCold => services::registry_cold(rig, &mut seeded),
        Kind::NewSchemaVersion => records::new_version(rig),
        Kind::Poison => records::poison(rig, &mut seeded),
        Kind::KillSwitch => operator::kill_switch(rig, &mut seeded),
        Kind::RebalanceStorm => members::storm(rig, &mut seeded),
        Kind::Orphan => members::orphan(rig, &mut seeded),
        Kind::RollingUpgrade => operator::rolling_upgrade(rig),
        Kind::Regroup => operator::regroup(rig),
        Kind::ClockJump => machine::clock_jump(rig, &mut seeded),
        Kind::DiskFullKafka => machine::disk_full_kafka(rig),
        Kind::DiskFullClickHouse => machine::disk_full_clickhouse(rig, &mut seeded),
        Kind::TopicRecreated => topics::recreated(rig),
        Kind::PartitionsAdded => topics::partitions_added(rig),
        _ => Ok(Outcome::missed("it is a cheap one")),
    }
}
