//! The trait of every fixed-scale number, its error, and the macro that makes one.

use core::fmt::{Debug, Display};
use core::hash::Hash;
use core::str::FromStr;

/// A number of fixed precision and scale: an Avro `decimal`.
pub trait FixedDecimal:
    Copy + Sized + Ord + Hash + Default + Debug + Display + FromStr<Err = NumberError> + Send + Sync + 'static
{
    /// Decimal digits in all.
    const PRECISION: u32;
    /// Decimal digits after the point.
    const SCALE: u32;
    /// Name of the type, for error messages.
    const NAME: &'static str;
    /// Whether values below zero exist.
    const SIGNED: bool;

    /// The value as a count of units of `10^-SCALE`.
    fn unscaled(self) -> i128;

    /// The value of a count of units of `10^-SCALE`.
    ///
    /// # Errors
    /// [`NumberError::OutOfRange`] beyond the precision; [`NumberError::Negative`] where no sign is allowed.
    fn from_unscaled(units: i128) -> Result<Self, NumberError>;
}

/// Why there is no such number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NumberError {
    /// More digits before the point than the type has.
    #[error("{name} is out of range")]
    OutOfRange {
        /// The type asked for.
        name: &'static str,
    },
    /// Below zero where the type has no sign.
    #[error("{name} is negative")]
    Negative {
        /// The type asked for.
        name: &'static str,
    },
    /// More digits after the point than the type has.
    #[error("{name} would lose digits")]
    LostDigits {
        /// The type asked for.
        name: &'static str,
    },
    /// No decimal number.
    #[error("{name} is no decimal number")]
    Malformed {
        /// The type asked for.
        name: &'static str,
    },
    /// A lot, tick or count that must be above zero is not.
    #[error("{name} is not positive")]
    NotPositive {
        /// What must be positive.
        name: &'static str,
    },
    /// A quantity that had to be a whole number of lots is not.
    #[error("{name} is no whole number of lots")]
    NotWholeLots {
        /// What was to be counted in lots.
        name: &'static str,
    },
    /// Amounts of two currencies were put together.
    #[error("amounts of two currencies do not add up")]
    CurrencyMismatch,
    /// A quotient by zero, such as the average price of no quantity.
    #[error("division by zero")]
    DivisionByZero,
    /// An intermediate result is beyond 128 bits.
    #[error("arithmetic overflow")]
    Overflow,
}

/// Defines a number type: `signed` or `unsigned`, precision, scale.
macro_rules! fixed_decimal {
    ($(#[$meta:meta])* $name:ident, $precision:literal, $scale:literal, $signed:literal) => {
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(i128);

        impl $name {
            /// Zero.
            pub const ZERO: Self = Self(0);
            /// One.
            pub const ONE: Self = Self(10_i128.pow($scale));
            /// The largest value.
            pub const MAX: Self = Self(10_i128.pow($precision) - 1);
            /// The smallest step above zero: `10^-SCALE`.
            pub const SMALLEST_STEP: Self = Self(1);

            /// The value of a whole number.
            ///
            /// # Errors
            /// Out of range, or negative where no sign is allowed.
            pub fn from_int(whole: i64) -> Result<Self, $crate::NumberError> {
                let units = i128::from(whole).checked_mul(Self::ONE.0).ok_or($crate::NumberError::Overflow)?;
                <Self as $crate::FixedDecimal>::from_unscaled(units)
            }

            /// The value as a count of units of `10^-SCALE`.
            #[must_use]
            pub const fn unscaled(self) -> i128 {
                self.0
            }

            /// The value of a count of units of `10^-SCALE`.
            ///
            /// # Errors
            /// Out of range, or negative where no sign is allowed.
            pub const fn from_unscaled(units: i128) -> Result<Self, $crate::NumberError> {
                if !$signed && units < 0 {
                    return Err($crate::NumberError::Negative { name: stringify!($name) });
                }
                if units.unsigned_abs() > Self::MAX.0.unsigned_abs() {
                    return Err($crate::NumberError::OutOfRange { name: stringify!($name) });
                }
                Ok(Self(units))
            }

            /// Whether the value is zero.
            #[must_use]
            pub const fn is_zero(self) -> bool {
                self.0 == 0
            }

            /// Whether the value is above zero.
            #[must_use]
            pub const fn is_positive(self) -> bool {
                self.0 > 0
            }

            /// The sum.
            ///
            /// # Errors
            /// Out of range.
            pub const fn checked_add(self, other: Self) -> Result<Self, $crate::NumberError> {
                match self.0.checked_add(other.0) {
                    Some(units) => Self::from_unscaled(units),
                    None => Err($crate::NumberError::OutOfRange { name: stringify!($name) }),
                }
            }

            /// The difference.
            ///
            /// # Errors
            /// Out of range, or negative where no sign is allowed.
            pub const fn checked_sub(self, other: Self) -> Result<Self, $crate::NumberError> {
                match self.0.checked_sub(other.0) {
                    Some(units) => Self::from_unscaled(units),
                    None => Err($crate::NumberError::OutOfRange { name: stringify!($name) }),
                }
            }

            /// The sum of all.
            ///
            /// # Errors
            /// Out of range.
            pub fn sum<I: IntoIterator<Item = Self>>(values: I) -> Result<Self, $crate::NumberError> {
                values.into_iter().try_fold(Self::ZERO, Self::checked_add)
            }
        }

        impl $crate::FixedDecimal for $name {
            const PRECISION: u32 = $precision;
            const SCALE: u32 = $scale;
            const NAME: &'static str = stringify!($name);
            const SIGNED: bool = $signed;

            fn unscaled(self) -> i128 {
                self.0
            }
            fn from_unscaled(units: i128) -> Result<Self, $crate::NumberError> {
                Self::from_unscaled(units)
            }
        }

        impl core::fmt::Display for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                $crate::number::text::format(self.0, $scale, f)
            }
        }

        impl core::fmt::Debug for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        impl core::str::FromStr for $name {
            type Err = $crate::NumberError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Self::from_unscaled($crate::number::text::parse(text, $scale, stringify!($name))?)
            }
        }

        impl TryFrom<rust_decimal::Decimal> for $name {
            type Error = $crate::NumberError;

            /// Exact: digits beyond the scale are an error.
            fn try_from(value: rust_decimal::Decimal) -> Result<Self, Self::Error> {
                let name = stringify!($name);
                let scale = i32::try_from(value.scale()).map_err(|_| $crate::NumberError::LostDigits { name })?;
                Self::from_unscaled($crate::number::text::shift(value.mantissa(), $scale - scale, name)?)
            }
        }

        impl TryFrom<$name> for rust_decimal::Decimal {
            type Error = $crate::NumberError;

            /// Exact; 28 digits always fit the 96 bits of a `Decimal`, more may not.
            fn try_from(value: $name) -> Result<Self, Self::Error> {
                Self::try_from_i128_with_scale(value.0, $scale)
                    .map_err(|_| $crate::NumberError::OutOfRange { name: stringify!($name) })
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Text;
                impl serde::de::Visitor<'_> for Text {
                    type Value = $name;
                    fn expecting(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                        f.write_str("a decimal number or its text")
                    }
                    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<$name, E> {
                        text.parse().map_err(E::custom)
                    }
                    fn visit_i64<E: serde::de::Error>(self, whole: i64) -> Result<$name, E> {
                        self.visit_str(&whole.to_string())
                    }
                    fn visit_u64<E: serde::de::Error>(self, whole: u64) -> Result<$name, E> {
                        self.visit_str(&whole.to_string())
                    }
                    fn visit_f64<E: serde::de::Error>(self, float: f64) -> Result<$name, E> {
                        // The shortest text that reads back as the same float: what its author wrote.
                        self.visit_str(&float.to_string())
                    }
                }
                deserializer.deserialize_any(Text)
            }
        }
    };
}
pub(crate) use fixed_decimal;

/// Adds what only signed numbers have.
macro_rules! signed_decimal {
    ($name:ident) => {
        impl $name {
            /// The smallest value.
            pub const MIN: Self = Self(-Self::MAX.0);

            /// Whether the value is below zero.
            #[must_use]
            pub const fn is_negative(self) -> bool {
                self.0 < 0
            }

            /// The value without its sign.
            #[must_use]
            pub const fn abs(self) -> Self {
                Self(self.0.abs())
            }
        }

        impl core::ops::Neg for $name {
            type Output = Self;

            /// The range is symmetric: this cannot overflow.
            fn neg(self) -> Self {
                Self(-self.0)
            }
        }
    };
}
pub(crate) use signed_decimal;
