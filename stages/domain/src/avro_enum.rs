//! Enumerations shared with Avro: one list of symbols for the Rust type, its text and its index on the wire.

/// An enumeration whose symbols, in their order, are those of an Avro enum.
pub trait AvroEnum: Copy + Eq + 'static {
    /// Name of the type, for error messages.
    const NAME: &'static str;
    /// The symbols in the order of the schema; the position is the index on the wire.
    const SYMBOLS: &'static [&'static str];
    /// The values in the order of the schema.
    const ALL: &'static [Self];

    /// Position in the schema, from 0.
    fn index(self) -> i32;
    /// The value at a position, `None` outside the schema.
    fn from_index(index: i32) -> Option<Self>;
    /// The symbol.
    fn as_str(self) -> &'static str;
    /// The value of exactly this symbol.
    fn from_symbol(symbol: &str) -> Option<Self>;
}

/// A text that is no symbol of the enumeration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{symbol:?} is no {name}")]
pub struct UnknownSymbol {
    /// The enumeration asked for.
    pub name: &'static str,
    /// What was given, cut to 64 characters.
    pub symbol: String,
}

impl UnknownSymbol {
    /// The error for `symbol`, which may be of any length.
    #[must_use]
    pub fn new(name: &'static str, symbol: &str) -> Self {
        Self { name, symbol: symbol.chars().take(64).collect() }
    }
}

/// Whether two lists hold the same symbols in the same order; for `const` assertions between a Rust
/// enumeration and the schema that the generated code was made from.
#[must_use]
pub const fn same_symbols(mut a: &[&str], mut b: &[&str]) -> bool {
    loop {
        match (a, b) {
            ([], []) => return true,
            ([x, rest_a @ ..], [y, rest_b @ ..]) => {
                if !same_bytes(x.as_bytes(), y.as_bytes()) {
                    return false;
                }
                a = rest_a;
                b = rest_b;
            }
            ([], [_, ..]) | ([_, ..], []) => return false,
        }
    }
}

const fn same_bytes(mut a: &[u8], mut b: &[u8]) -> bool {
    loop {
        match (a, b) {
            ([], []) => return true,
            ([x, rest_a @ ..], [y, rest_b @ ..]) => {
                if *x != *y {
                    return false;
                }
                a = rest_a;
                b = rest_b;
            }
            ([], [_, ..]) | ([_, ..], []) => return false,
        }
    }
}

/// Defines an enumeration that has the symbols of an Avro enum.
///
/// A variant is written `Name = "SYMBOL"`, or `Name = "SYMBOL" | "ALIAS"` where the edge accepts other
/// spellings. The type gets `NAME`, `SYMBOLS`, `ALL`, `index`, `from_index`, `as_str`, `parse_alias`,
/// `Display`, `FromStr` (exact symbol), serde as the symbol, and [`AvroEnum`].
#[macro_export]
macro_rules! avro_enum {
    (
        $(#[$meta:meta])*
        $vis:vis enum $name:ident {
            $( $(#[$vmeta:meta])* $variant:ident = $symbol:literal $(| $alias:literal)* ),+ $(,)?
        }
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(i32)]
        $vis enum $name {
            $( $(#[$vmeta])* $variant ),+
        }

        impl $name {
            /// Name of the type, for error messages.
            $vis const NAME: &'static str = stringify!($name);
            /// The symbols in the order of the schema.
            $vis const SYMBOLS: &'static [&'static str] = &[$($symbol),+];
            /// The values in the order of the schema.
            $vis const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// Position in the schema, from 0.
            #[must_use]
            #[allow(clippy::as_conversions, reason = "the discriminant of a repr(i32) enum is its index")]
            $vis const fn index(self) -> i32 {
                self as i32
            }

            /// The value at a position, `None` outside the schema.
            #[must_use]
            $vis fn from_index(index: i32) -> Option<Self> {
                usize::try_from(index).ok().and_then(|index| Self::ALL.get(index).copied())
            }

            /// The symbol.
            #[must_use]
            $vis const fn as_str(self) -> &'static str {
                match self {
                    $( Self::$variant => $symbol ),+
                }
            }

            /// The value of exactly this symbol.
            #[must_use]
            $vis fn from_symbol(symbol: &str) -> Option<Self> {
                match symbol {
                    $( $symbol => Some(Self::$variant), )+
                    _ => None,
                }
            }

            /// The value of a symbol or of one of its aliases: what the edge accepts.
            ///
            /// # Errors
            /// The text is neither a symbol nor an alias.
            $vis fn parse_alias(text: &str) -> ::core::result::Result<Self, $crate::UnknownSymbol> {
                match text {
                    $( $symbol $(| $alias)* => Ok(Self::$variant), )+
                    _ => Err($crate::UnknownSymbol::new(Self::NAME, text)),
                }
            }
        }

        impl $crate::AvroEnum for $name {
            const NAME: &'static str = Self::NAME;
            const SYMBOLS: &'static [&'static str] = Self::SYMBOLS;
            const ALL: &'static [Self] = Self::ALL;

            fn index(self) -> i32 {
                Self::index(self)
            }
            fn from_index(index: i32) -> Option<Self> {
                Self::from_index(index)
            }
            fn as_str(self) -> &'static str {
                Self::as_str(self)
            }
            fn from_symbol(symbol: &str) -> Option<Self> {
                Self::from_symbol(symbol)
            }
        }

        impl ::core::fmt::Display for $name {
            fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl ::core::str::FromStr for $name {
            type Err = $crate::UnknownSymbol;

            fn from_str(text: &str) -> ::core::result::Result<Self, Self::Err> {
                Self::from_symbol(text).ok_or_else(|| $crate::UnknownSymbol::new(Self::NAME, text))
            }
        }

        impl $crate::__private::serde::Serialize for $name {
            fn serialize<S: $crate::__private::serde::Serializer>(
                &self,
                serializer: S,
            ) -> ::core::result::Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> $crate::__private::serde::Deserialize<'de> for $name {
            fn deserialize<D: $crate::__private::serde::Deserializer<'de>>(
                deserializer: D,
            ) -> ::core::result::Result<Self, D::Error> {
                struct Symbol;
                impl $crate::__private::serde::de::Visitor<'_> for Symbol {
                    type Value = $name;
                    fn expecting(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                        write!(f, "one of {:?}", $name::SYMBOLS)
                    }
                    fn visit_str<E: $crate::__private::serde::de::Error>(
                        self,
                        text: &str,
                    ) -> ::core::result::Result<$name, E> {
                        text.parse().map_err(E::custom)
                    }
                }
                deserializer.deserialize_str(Symbol)
            }
        }
    };
}

#[cfg(test)]
mod tests {
    use super::same_symbols;

    avro_enum! {
        /// A colour.
        enum Colour {
            /// Red.
            Red = "RED" | "ROUGE" | "ROT",
            /// Green.
            Green = "GREEN",
        }
    }

    const _: () = assert!(same_symbols(Colour::SYMBOLS, &["RED", "GREEN"]));
    const _: () = assert!(!same_symbols(Colour::SYMBOLS, &["GREEN", "RED"]));

    #[test]
    fn same_symbols_compares_order_content_and_length() {
        assert!(same_symbols(&[], &[]));
        assert!(!same_symbols(&["A"], &[]));
        assert!(!same_symbols(&["A"], &["A", "B"]));
        assert!(!same_symbols(&["AB"], &["A"]));
        assert!(!same_symbols(&["AB"], &["AC"]));
    }

    #[test]
    fn symbol_index_and_text_agree() {
        for (index, value) in (0..).zip(Colour::ALL) {
            assert_eq!(value.index(), index);
            assert_eq!(Colour::from_index(index), Some(*value));
            assert_eq!(value.as_str().parse(), Ok(*value));
        }
        assert_eq!(Colour::from_index(-1), None);
        assert_eq!(Colour::from_index(2), None);
    }

    #[test]
    fn an_alias_is_accepted_only_where_asked_for() {
        assert_eq!(Colour::parse_alias("ROT"), Ok(Colour::Red));
        assert_eq!(Colour::parse_alias("RED"), Ok(Colour::Red));
        assert!("ROT".parse::<Colour>().is_err());
        assert_eq!(Colour::parse_alias("red").unwrap_err().to_string(), "\"red\" is no Colour");
    }

    #[test]
    fn json_is_the_symbol() {
        assert_eq!(serde_json::to_string(&Colour::Green).unwrap(), "\"GREEN\"");
        assert_eq!(serde_json::from_str::<Colour>("\"RED\"").unwrap(), Colour::Red);
        assert!(serde_json::from_str::<Colour>("\"ROT\"").is_err());
        assert!(serde_json::from_str::<Colour>("0").is_err());
    }
}
