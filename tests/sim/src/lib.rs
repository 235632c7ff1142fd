//! The whole topology in a deterministic simulation.
//!
//! A seed makes a small world (a market of 90 seconds, decisions, repeats, commands, kills, brokers that reject, report
//! late and twice) and three runs of the real stages over the simulated Kafka of `fillstream-testkit`: one that nothing
//! disturbs; one in market time with the order path cut anywhere, several workers, small batches, crashes, aborts, lost
//! acknowledgements, zombies and rebalances, which must write the same; and one on a virtual clock, in which the network
//! holds messages back and sessions are taken over, too. The venue engine and the gateway's session core are the real ones;
//! only the I/O between them is modelled.
//!
//! Every run is audited by `fillstream-audit` after each message to the venue and each decision that committed anything, each time
//! over a consistent cut of what was decided, and at its end. Both disturbed runs are replayed from their journals.
#![forbid(unsafe_code)]

mod auditor;
mod error;
mod gateway;
mod probe;
mod run;
mod shrink;
mod venue;
mod world;

pub use error::{Failure, SimError};
pub use fillstream_testkit::Spared;
pub use run::{Case, Counts, Topology, run};
pub use shrink::{Smallest, shrink};
