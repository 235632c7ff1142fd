//! Transaction cost analysis of every released parent order: what it cost, against which price, and why.
//!
//! An order that ends gets a PRELIMINARY row within seconds and a FINAL row after the close of its session, each a
//! revision; a late fill, bust or correction makes another. [`shortfall`] has the formulas, [`benchmark`] the market's
//! price, [`score`] the judgement, [`reason`] the codes. Two timers an order:
//!
//! ```text
//! terminal --row_delay--> ROW: PRELIMINARY        amendment --row_delay--> ROW: the stage it has, next revision
//!          \-> HORIZON (keeps its mid, if still to come) -> FINAL, asked again until the market has passed the close
//!                                                                  -> RETIRE: everything of the order is forgotten
//! ```
//!
//! The market is read by event time only. What a row used is kept with the order, so that a FINAL row does not lose its
//! benchmark when the table's history has moved on; a figure that neither the table nor the order has is null with its
//! cause, never a guess.
#![forbid(unsafe_code)]
#![deny(clippy::float_arithmetic, clippy::as_conversions, clippy::disallowed_methods, clippy::disallowed_types)]

pub mod benchmark;
mod child;
pub mod config;
mod evidence;
mod fold;
pub mod reason;
mod row;
pub mod score;
pub mod session;
pub mod shortfall;
mod stage;

use fillstream_core::{inputs, outputs, stores};
use fillstream_schemas::execution::{ExecutionQuality, ExecutionStrategySelected, OrderEvent};
use fillstream_schemas::state::{TcaAlgorithm, TcaChild, TcaOrder};

pub use config::{Advice, Config};

inputs! {
    /// What the stage reads.
    pub enum In {
        Order(OrderEvent) = "execution.orders.v1",
        Strategy(ExecutionStrategySelected) = "execution.strategies.v1",
    }
}

outputs! {
    /// What the stage writes.
    pub enum Out { Quality(ExecutionQuality) = "execution.quality.v1" }
}

stores! {
    /// What the stage remembers.
    pub struct State {
        /// Orders by order id.
        orders: TcaOrder = "orders",
        /// Their children, by `order id/ClOrdID`.
        children: TcaChild = "children",
        /// Algorithms of orders whose creation has not been read yet, by order id.
        algorithms: TcaAlgorithm = "algorithms",
    }
}

/// The tca stage.
pub struct Tca {
    config: Config,
}

impl Tca {
    /// The stage with a valid configuration.
    ///
    /// # Errors
    /// Every fault of the configuration.
    pub fn new(config: Config) -> Result<Self, Vec<String>> {
        let faults = config.validate();
        if faults.is_empty() { Ok(Self { config }) } else { Err(faults) }
    }
}
