//! The number types.

use super::fixed::{fixed_decimal, signed_decimal};
use super::{FixedDecimal, NumberError};
use core::fmt;
use core::str::FromStr;

fixed_decimal!(
    /// A price in quote currency per unit of the instrument: 18 digits, 8 after the point. Below zero
    /// only where the instrument allows it (spreads, power), which is the instrument's rule, not the type's.
    Price, 18, 8, true
);
signed_decimal!(Price);

fixed_decimal!(
    /// An amount of an instrument in its own units (shares, base currency, contracts), never below
    /// zero: 28 digits, 8 after the point.
    Quantity, 28, 8, false
);

fixed_decimal!(
    /// A position or a change of one, long above zero and short below: 28 digits, 8 after the point.
    SignedQuantity, 28, 8, true
);
signed_decimal!(SignedQuantity);

fixed_decimal!(
    /// An amount of money whose currency stands beside it: 28 digits, 8 after the point, signed.
    Money, 28, 8, true
);
signed_decimal!(Money);

fixed_decimal!(
    /// Basis points (1/100 of a per cent), signed: 18 digits, 6 after the point.
    Bps, 18, 6, true
);
signed_decimal!(Bps);

fixed_decimal!(
    /// A dimensionless ratio, signed, 1 = 100 %: 18 digits, 9 after the point.
    Ratio, 18, 9, true
);
signed_decimal!(Ratio);

fixed_decimal!(
    /// A price that was divided or averaged (AvgPx, mid, VWAP, TWAP): 28 digits, 12 after the point.
    AvgPrice, 28, 12, true
);
signed_decimal!(AvgPrice);

fixed_decimal!(
    /// A sum of price times quantity in quote currency: 28 digits, 12 after the point.
    Turnover, 28, 12, true
);
signed_decimal!(Turnover);

fixed_decimal!(
    /// The integral of bid plus ask over time, in price times microseconds: 28 digits, 8 after the point.
    MidTime, 28, 8, true
);
signed_decimal!(MidTime);

fixed_decimal!(
    /// An exact sum of price times quantity, every digit kept: 38 digits, 16 after the point. For stored
    /// state; contracts carry a [`Turnover`].
    ExactTurnover, 38, 16, true
);
signed_decimal!(ExactTurnover);

impl From<Price> for AvgPrice {
    /// Exact: four digits more after the point, ten before it.
    fn from(px: Price) -> Self {
        Self(px.unscaled() * 10_000)
    }
}

impl From<Quantity> for SignedQuantity {
    fn from(quantity: Quantity) -> Self {
        Self(quantity.unscaled())
    }
}

impl TryFrom<SignedQuantity> for Quantity {
    type Error = NumberError;

    fn try_from(position: SignedQuantity) -> Result<Self, Self::Error> {
        Self::from_unscaled(position.unscaled())
    }
}

impl SignedQuantity {
    /// The size of the position without its direction.
    #[must_use]
    pub const fn magnitude(self) -> Quantity {
        Quantity(self.0.abs())
    }
}

impl Ratio {
    /// The ratio as basis points, exact.
    ///
    /// # Errors
    /// Digits beyond a millionth of a basis point cannot occur (9 - 4 < 6); out of range.
    pub const fn to_bps(self) -> Result<Bps, NumberError> {
        // 1 = 10^9 units = 10^4 bps = 10^10 units of Bps.
        Bps::from_unscaled(self.0 * 10)
    }
}

/// A currency or coin: 3 to 10 capital letters or digits (`USD`, `USDT`, `1INCH`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Currency {
    code: [u8; Self::MAX_LEN],
}

impl Currency {
    /// The longest code.
    pub const MAX_LEN: usize = 10;
    /// US dollar.
    pub const USD: Self = Self { code: *b"USD\0\0\0\0\0\0\0" };
    /// Euro.
    pub const EUR: Self = Self { code: *b"EUR\0\0\0\0\0\0\0" };

    /// The code.
    #[must_use]
    pub fn as_str(&self) -> &str {
        let text = self.code.split(|b| *b == 0).next().unwrap_or_default();
        // Only ASCII was let in.
        core::str::from_utf8(text).unwrap_or_default()
    }

    /// Digits after the point of the smallest amount that is booked: ISO 4217 for money, 8 for a code
    /// that ISO does not know (a coin).
    #[must_use]
    pub fn minor_digits(&self) -> u32 {
        match self.as_str() {
            "BIF" | "CLP" | "DJF" | "GNF" | "ISK" | "JPY" | "KMF" | "KRW" | "PYG" | "RWF" | "UGX" | "UYI" | "VND"
            | "VUV" | "XAF" | "XOF" | "XPF" => 0,
            "BHD" | "IQD" | "JOD" | "KWD" | "LYD" | "OMR" | "TND" => 3,
            "AED" | "ARS" | "AUD" | "BGN" | "BRL" | "CAD" | "CHF" | "CNH" | "CNY" | "COP" | "CZK" | "DKK" | "EGP"
            | "EUR" | "GBP" | "HKD" | "HUF" | "IDR" | "ILS" | "INR" | "KES" | "KZT" | "MAD" | "MXN" | "MYR" | "NGN"
            | "NOK" | "NZD" | "PEN" | "PHP" | "PKR" | "PLN" | "QAR" | "RON" | "RSD" | "RUB" | "SAR" | "SEK" | "SGD"
            | "THB" | "TRY" | "TWD" | "UAH" | "USD" | "ZAR" => 2,
            _ => 8,
        }
    }
}

impl FromStr for Currency {
    type Err = NumberError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let valid = (3..=Self::MAX_LEN).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit());
        if !valid {
            return Err(NumberError::Malformed { name: "Currency" });
        }
        let mut code = [0; Self::MAX_LEN];
        for (slot, byte) in code.iter_mut().zip(text.bytes()) {
            *slot = byte;
        }
        Ok(Self { code })
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Currency({})", self.as_str())
    }
}

impl serde::Serialize for Currency {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> serde::Deserialize<'de> for Currency {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

const _: () = assert!(<Price as FixedDecimal>::PRECISION <= 28 && <Money as FixedDecimal>::PRECISION <= 28);
