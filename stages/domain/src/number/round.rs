//! The ways a quotient is made whole.

/// How a result that needs more digits than its type has is made to fit. Always named by the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Rounding {
    /// To the nearest; a tie goes to the even digit. What cash uses.
    HalfEven,
    /// Towards zero.
    TowardsZero,
    /// Away from zero.
    AwayFromZero,
    /// Towards negative infinity.
    Floor,
    /// Towards positive infinity.
    Ceiling,
}

impl Rounding {
    /// Whether the magnitude of a truncated quotient goes one up.
    ///
    /// `remainder < divisor`; `odd` is that of the truncated quotient, `negative` the sign of the result.
    pub(crate) fn goes_up(self, remainder: u128, divisor: u128, odd: bool, negative: bool) -> bool {
        if remainder == 0 {
            return false;
        }
        match self {
            Self::HalfEven => match remainder.cmp(&(divisor - remainder)) {
                core::cmp::Ordering::Less => false,
                core::cmp::Ordering::Equal => odd,
                core::cmp::Ordering::Greater => true,
            },
            Self::TowardsZero => false,
            Self::AwayFromZero => true,
            Self::Floor => negative,
            Self::Ceiling => !negative,
        }
    }
}
