//! The order state tables: one transition function for children, one for parents.
//!
//! FIX 4.4 Appendix D governs the [child](ChildState): what a counterparty reports. A [parent](ParentState) has a
//! smaller table of its own, derived from the figures of its children.

mod child;
mod event;
mod exposure;
mod parent;
mod rule;
mod snapshot;

pub use child::{ChildState, child_quantities_balance, transition};
pub use event::{ChildEvent, IllegalCause, IllegalTransition, Resolution, Transition};
pub use exposure::{Commitments, available_to_route, children_fit_parent};
pub use parent::{
    IllegalParentTransition, ParentCause, ParentChange, ParentEvent, ParentState, ParentTransition,
    parent_quantities_balance, parent_transition,
};
pub use rule::{ChildEventKind, Rule, rule};
pub use snapshot::{ChildSnapshot, ImpossibleSnapshot, ParentSnapshot};
