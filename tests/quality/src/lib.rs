//! What the strategies cost, measured: each algorithm of the real stage on the same paths.
//!
//! # Method
//! - **Stage.** Each order is worked by the execution-strategy stage itself, in the engine's task, on its own timers ([`desk`]). Nothing
//!   of it is done anew here; routing is one child a slice, the venue is a ladder ([`book`]).
//! - **Paths.** The project's generator under scenarios ([`generator`]), where own fills move the book; and, if a folder is given, windows of
//!   market files ([`files`]), where they do not. All algorithms meet the same rows of the same path: comparisons are paired.
//! - **Cost.** Implementation shortfall by `fillstream_tca`, against the mid at arrival, with the venue's fees; what is left when the time
//!   is over is taken then, at any price. Completion and the shortfall without that stand beside.
//! - **Cells.** An order (share, value, urgency, time) and the market's condition as the stage tells it at arrival.
//! - **Intervals.** 95 %: Student's t of paired differences, Wilson's for shares, a seeded bootstrap for ratios ([`stats`]).
//! - **Figures of trading rule 35** ([`figures`]). "90 % optimal" is the share of cells with at least 200 paired paths in which the
//!   choice of the rules is the cheapest or not significantly dearer. Nothing corrects for the choice of the cheapest after the fact, which
//!   counts against the rules; and a wide interval counts for them, so its width is told. "15 % better" is what adaptation saves of the
//!   cost of the algorithms with a schedule.
//!
//! A run is a function of its seed, its number of paths and the files.
//!
//! # Limits
//! - Generated paths have the impact of a model, and no reaction to resting orders. The scenarios are stronger than most of what a market does:
//!   otherwise the stage would not tell their conditions.
//! - Files have no impact at all: what slices an order looks better than it is. They are few windows of a few hours, recorded at the same
//!   time, so their intervals are too narrow rather than too wide.
//! - Nothing is known of the book behind the touch; the ladder stands for it.
//! - Reports are at once, nothing is rejected, one venue.
#![forbid(unsafe_code)]

pub mod book;
pub mod confidence;
pub mod desk;
mod error;
pub mod figures;
pub mod files;
pub mod generator;
pub mod measure;
pub mod path;
pub mod report;
pub mod stats;

pub use confidence::confidence;
pub use error::QualityError;
pub use measure::{Plan, measure};
pub use report::report;
