//! The enumerations of the contracts, with FIX 4.4 names where FIX has them.

mod market;
mod order;
mod trading;

pub use market::{AssetClass, ControlScope, LiquidityFlag, MarketCondition};
pub use order::{ExecType, OrdStatus, OrdType, ParentStatus, Side, TimeInForce};
pub use trading::{Action, Algorithm, AlgorithmRequest, ExecutionObjective, Priority, RoutingStrategy, Urgency};
