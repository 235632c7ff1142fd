//! Identifiers: each its own type, so that no account is ever passed for a portfolio.

use sha2::{Digest, Sha256};
use std::borrow::{Borrow, Cow};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// Why a text is no identifier.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// No characters.
    #[error("{name} is empty")]
    Empty {
        /// The identifier asked for.
        name: &'static str,
    },
    /// More bytes than the identifier may have.
    #[error("{name} is longer than {max} bytes")]
    TooLong {
        /// The identifier asked for.
        name: &'static str,
        /// The most bytes.
        max: usize,
    },
    /// A control character, or white space at an end.
    #[error("{name} has control characters or white space around it")]
    BadCharacter {
        /// The identifier asked for.
        name: &'static str,
    },
    /// More attempts or amendments than a ClOrdID can count.
    #[error("{name} {value} is over {max}")]
    TooMany {
        /// What was counted.
        name: &'static str,
        /// The count.
        value: u32,
        /// The most.
        max: u32,
    },
}

/// An identifier that is a text.
pub trait TextId: Sized + Clone + Ord {
    /// Name of the type, for error messages.
    const NAME: &'static str;
    /// The most UTF-8 bytes.
    const MAX_LEN: usize;

    /// The identifier of a text.
    ///
    /// # Errors
    /// Empty, too long, control characters, or white space around it.
    fn new(text: &str) -> Result<Self, IdError>;

    /// The text.
    fn as_str(&self) -> &str;
}

fn check(text: &str, name: &'static str, max: usize) -> Result<(), IdError> {
    if text.is_empty() {
        return Err(IdError::Empty { name });
    }
    if text.len() > max {
        return Err(IdError::TooLong { name, max });
    }
    if text.trim().len() != text.len() || text.chars().any(char::is_control) {
        return Err(IdError::BadCharacter { name });
    }
    Ok(())
}

macro_rules! text_id {
    ($($(#[$meta:meta])* $name:ident, $max:literal;)+) => { $(
        $(#[$meta])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The most UTF-8 bytes.
            pub const MAX_LEN: usize = $max;

            /// The identifier of a text.
            ///
            /// # Errors
            /// Empty, too long, control characters, or white space around it.
            pub fn new(text: &str) -> Result<Self, IdError> {
                check(text, stringify!($name), $max)?;
                Ok(Self(Arc::from(text)))
            }

            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TextId for $name {
            const NAME: &'static str = stringify!($name);
            const MAX_LEN: usize = $max;

            fn new(text: &str) -> Result<Self, IdError> {
                Self::new(text)
            }
            fn as_str(&self) -> &str {
                self.as_str()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        // Order, equality and hash are those of the text, so maps can be asked with a plain one.
        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Self::new(text)
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdError;

            fn try_from(text: String) -> Result<Self, Self::Error> {
                Self::new(&text)
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0.as_ref().to_owned()
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <Cow<'de, str>>::deserialize(deserializer)?;
                Self::new(&text).map_err(serde::de::Error::custom)
            }
        }
    )+ };
}

text_id! {
    /// A parent order.
    OrderId, 64;
    /// An order as a counterparty knows it (FIX 11): unique for ever, a new one for each replace.
    ClOrdId, 64;
    /// An execution report (FIX 17), unique with its broker.
    ExecId, 128;
    /// A portfolio: the key of most topics.
    PortfolioId, 64;
    /// An account at a broker; belongs to exactly one portfolio.
    AccountId, 64;
    /// An instrument.
    InstrumentId, 64;
    /// A venue: its MIC where it has one.
    VenueId, 32;
    /// A broker.
    BrokerId, 32;
    /// A session with a broker.
    SessionId, 64;
    /// An event, in the words of who produced it.
    EventId, 128;
    /// A strategy.
    StrategyId, 64;
    /// A trader.
    TraderId, 64;
    /// An algorithm of an upstream system.
    AlgoId, 64;
    /// A list that an order belongs to.
    ListId, 64;
    /// A trading calendar.
    CalendarId, 64;
}

/// Crockford's base 32: no I, L, O, U, so that nobody misreads one over the phone.
const BASE32: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

impl ClOrdId {
    /// The longest ClOrdID that every FIX broker takes.
    pub const SHORT_LEN: usize = 20;
    /// The highest attempt and amendment number: two base 32 digits.
    pub const MAX_COUNT: u32 = 1023;

    /// The ClOrdID of a leg of a slice of an order in an account: 20 characters, the same at every replay.
    ///
    /// 16 of them are the first 80 bits of a SHA-256 over (order, account, slice, leg); 2 are the attempt
    /// and 2 the amendment as plain numbers. So the ids of one leg, the only ones a retry or a replace
    /// could mix up, differ by construction, and two legs collide with a chance of n^2 / 2^81: 4e-7 after
    /// a thousand million legs. A collision is no double order even then: a ClOrdID that was used with
    /// other fields is refused before the wire and at the broker.
    ///
    /// # Errors
    /// More than [`Self::MAX_COUNT`] attempts or amendments.
    pub fn derive(
        order: &OrderId,
        account: &AccountId,
        slice: u32,
        leg: u32,
        attempt: u32,
        amendment: u32,
    ) -> Result<Self, IdError> {
        for (name, value) in [("attempt", attempt), ("amendment", amendment)] {
            if value > Self::MAX_COUNT {
                return Err(IdError::TooMany { name, value, max: Self::MAX_COUNT });
            }
        }
        let mut hash = Sha256::new();
        for text in [order.as_str(), account.as_str()] {
            // The length first: ("ab", "c") and ("a", "bc") are different legs.
            hash.update(u64::try_from(text.len()).unwrap_or(u64::MAX).to_be_bytes());
            hash.update(text.as_bytes());
        }
        hash.update(slice.to_be_bytes());
        hash.update(leg.to_be_bytes());
        let leg_bits = hash.finalize().iter().take(10).fold(0_u128, |bits, byte| (bits << 8) | u128::from(*byte));
        let bits = (leg_bits << 20) | (u128::from(attempt) << 10) | u128::from(amendment);
        let text: String = (0..Self::SHORT_LEN)
            .rev()
            .filter_map(|digit| usize::try_from((bits >> (5 * digit)) & 31).ok())
            .filter_map(|value| BASE32.get(value).copied().map(char::from))
            .collect();
        Self::new(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::{BTreeMap, BTreeSet};

    fn derive(order: &str, account: &str, numbers: [u32; 4]) -> Result<ClOrdId, IdError> {
        let [slice, leg, attempt, amendment] = numbers;
        ClOrdId::derive(&order.parse().unwrap(), &account.parse().unwrap(), slice, leg, attempt, amendment)
    }

    #[test]
    fn an_id_is_a_short_clean_text() {
        assert_eq!(PortfolioId::new("").unwrap_err(), IdError::Empty { name: "PortfolioId" });
        assert_eq!(VenueId::new(&"X".repeat(33)).unwrap_err(), IdError::TooLong { name: "VenueId", max: 32 });
        for bad in [" a", "a ", "a\nb", "a\u{0}"] {
            assert_eq!(OrderId::new(bad).unwrap_err(), IdError::BadCharacter { name: "OrderId" });
        }
        assert_eq!(InstrumentId::new("EUR/USD").unwrap().to_string(), "EUR/USD");
        assert_eq!(PortfolioId::new("Börse 1").unwrap().as_str(), "Börse 1");
    }

    #[test]
    fn json_is_the_text_and_is_checked() {
        let id: BrokerId = serde_json::from_str("\"alpaca\"").unwrap();
        assert_eq!(serde_json::to_string(&id).unwrap(), "\"alpaca\"");
        assert!(serde_json::from_str::<BrokerId>("\"\"").is_err());
        assert_eq!(serde_json::from_str::<BrokerId>("\"a\\u0062\"").unwrap().as_str(), "ab");
    }

    #[test]
    fn a_map_can_be_asked_with_plain_text() {
        let map = BTreeMap::from([(AccountId::new("A1").unwrap(), 1)]);
        assert_eq!(map.get("A1"), Some(&1));
    }

    /// Trading rule 3: ClOrdID from (order, account, slice, leg, attempt, amendment).
    #[test]
    fn rule_3_every_part_changes_the_cl_ord_id() {
        let mut seen = BTreeSet::new();
        for order in ["o-1", "o-2"] {
            for account in ["a-1", "a-2"] {
                for code in 0..256_u32 {
                    let numbers = [code & 3, (code >> 2) & 3, (code >> 4) & 3, code >> 6];
                    let id = derive(order, account, numbers).unwrap();
                    assert_eq!(id.as_str().len(), ClOrdId::SHORT_LEN);
                    assert!(id.as_str().bytes().all(|b| BASE32.contains(&b)));
                    assert!(seen.insert(id), "{order} {account} {numbers:?}");
                }
            }
        }
    }

    #[test]
    fn the_boundary_between_order_and_account_counts() {
        assert_ne!(derive("ab", "c", [0; 4]), derive("a", "bc", [0; 4]));
    }

    #[test]
    fn attempt_and_amendment_are_plain_digits_of_one_leg() {
        let first = derive("o", "a", [7, 1, 0, 0]).unwrap();
        let last = derive("o", "a", [7, 1, 1023, 33]).unwrap();
        assert_eq!(first.as_str()[..16], last.as_str()[..16]);
        assert_eq!((&first.as_str()[16..], &last.as_str()[16..]), ("0000", "ZZ11"));
        assert_eq!(
            derive("o", "a", [0, 0, 1024, 0]),
            Err(IdError::TooMany { name: "attempt", value: 1024, max: 1023 })
        );
        assert_eq!(
            derive("o", "a", [0, 0, 0, 1024]),
            Err(IdError::TooMany { name: "amendment", value: 1024, max: 1023 })
        );
    }

    #[test]
    fn a_derived_id_never_changes() {
        // These ids are in brokers' books: another value here is a breaking change.
        assert_eq!(derive("order-12345", "ACC-1", [3, 2, 1, 0]).unwrap().as_str(), "ABPGKZJZJ9ZQFBB00100");
    }
}
