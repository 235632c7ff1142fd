//! Exact numbers of fixed precision and scale, as the Avro contracts carry them.
//!
//! A value is an `i128` count of units of `10^-SCALE`: equality, order and hash are those of the
//! integer, nothing is ever rescaled, and a product that does not fit is computed in 256 bits or
//! refused. Floats never enter a calculation; a JSON float is read through its shortest decimal text.

mod average;
mod fixed;
mod ops;
mod round;
mod text;
mod types;
mod wide;

pub use average::{MidPrice, PriceQuantitySum};
pub use fixed::{FixedDecimal, NumberError};
pub use ops::{Notional, split_even};
pub use round::Rounding;
pub use types::{
    AvgPrice, Bps, Currency, ExactTurnover, MidTime, Money, Price, Quantity, Ratio, SignedQuantity, Turnover,
};
pub use wide::mul_div_i128;
