//! Bounds-checked reading of Avro binary.

use super::error::{CodecError, Fault};
use super::kind::Codec;

type Result<T> = std::result::Result<T, CodecError>;

/// Bytes of a value that is being decoded, from the front.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Reads these bytes.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// The bytes not read yet.
    #[must_use]
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Ends the reading.
    ///
    /// # Errors
    /// Bytes are left.
    pub fn finish(&self) -> Result<()> {
        if self.rest.is_empty() { Ok(()) } else { Err(Fault::Trailing(self.rest.len()).into()) }
    }

    /// A record's field; an error names it.
    ///
    /// # Errors
    /// As the field's type.
    #[inline]
    pub fn field<C: Codec>(&mut self, name: &'static str) -> Result<C::Native> {
        match C::read(self) {
            Ok(value) => Ok(value),
            Err(error) => Err(error.in_field(name)),
        }
    }

    /// The next `count` bytes.
    ///
    /// # Errors
    /// Fewer are left.
    #[inline]
    pub fn take(&mut self, count: usize) -> Result<&'a [u8]> {
        match self.rest.split_at_checked(count) {
            Some((taken, rest)) => {
                self.rest = rest;
                Ok(taken)
            }
            None => Err(truncated(count.saturating_sub(self.rest.len()))),
        }
    }

    /// The next bytes as an array.
    ///
    /// # Errors
    /// Fewer are left.
    #[inline]
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        match self.rest.split_first_chunk::<N>() {
            Some((taken, rest)) => {
                self.rest = rest;
                Ok(*taken)
            }
            None => Err(truncated(N.saturating_sub(self.rest.len()))),
        }
    }

    /// A `long`.
    ///
    /// # Errors
    /// The bytes end, or it has more than 64 bits.
    #[inline]
    pub fn long(&mut self) -> Result<i64> {
        match self.rest {
            [byte, rest @ ..] if *byte < 0x80 => {
                self.rest = rest;
                Ok(unzigzag(u64::from(*byte)))
            }
            _ => self.long_of_many_bytes(),
        }
    }

    fn long_of_many_bytes(&mut self) -> Result<i64> {
        let mut number = 0_u64;
        let mut shift = 0_u32;
        let mut rest = self.rest;
        while let [byte, tail @ ..] = rest {
            rest = tail;
            let low = u64::from(byte & 0x7f);
            // The tenth byte holds the last bit.
            if shift == 63 && *byte > 1 {
                return Err(Fault::IntegerTooLong.into());
            }
            number |= low << shift;
            if *byte < 0x80 {
                self.rest = rest;
                return Ok(unzigzag(number));
            }
            shift += 7;
        }
        Err(truncated(1))
    }

    /// An `int`.
    ///
    /// # Errors
    /// As [`Reader::long`], or it does not fit 32 bits.
    #[inline]
    pub fn int(&mut self) -> Result<i32> {
        let number = self.long()?;
        i32::try_from(number).map_err(|_| Fault::IntRange(number).into())
    }

    /// A `boolean`.
    ///
    /// # Errors
    /// The bytes end, or it is neither 0 nor 1.
    #[inline]
    pub fn boolean(&mut self) -> Result<bool> {
        match self.array()? {
            [0] => Ok(false),
            [1] => Ok(true),
            [other] => Err(Fault::Boolean(other).into()),
        }
    }

    /// A `double`.
    ///
    /// # Errors
    /// The bytes end, or it is not finite.
    #[inline]
    pub fn double(&mut self) -> Result<f64> {
        let number = f64::from_le_bytes(self.array()?);
        if number.is_finite() { Ok(number) } else { Err(Fault::NotFinite.into()) }
    }

    /// A `float`.
    ///
    /// # Errors
    /// The bytes end, or it is not finite.
    pub fn float(&mut self) -> Result<f32> {
        let number = f32::from_le_bytes(self.array()?);
        if number.is_finite() { Ok(number) } else { Err(Fault::NotFinite.into()) }
    }

    /// `bytes`: a length and as many bytes, which are borrowed.
    ///
    /// # Errors
    /// The length is negative or beyond the bytes left.
    #[inline]
    pub fn bytes(&mut self) -> Result<&'a [u8]> {
        let length = self.long()?;
        match usize::try_from(length) {
            Ok(length) => self.take(length),
            Err(_) => Err(Fault::Length(length).into()),
        }
    }

    /// A `string`, borrowed.
    ///
    /// # Errors
    /// As [`Reader::bytes`], or it is not UTF-8.
    #[inline]
    pub fn text(&mut self) -> Result<&'a str> {
        std::str::from_utf8(self.bytes()?).map_err(|_| Fault::Utf8.into())
    }

    /// The unscaled number of a `decimal` held in bytes of any length.
    ///
    /// # Errors
    /// As [`Reader::bytes`], no bytes at all, or it does not fit 128 bits.
    #[inline]
    pub fn unscaled(&mut self) -> Result<i128> {
        unscaled(self.bytes()?)
    }

    /// The count of the next block of an array or map, 0 at its end, for items of at least `min_len` bytes.
    ///
    /// # Errors
    /// The count, or the block's size in bytes, is more than the bytes left can hold.
    #[inline]
    pub fn block(&mut self, min_len: usize) -> Result<usize> {
        let count = self.long()?;
        if count == 0 { Ok(0) } else { self.block_of(count, min_len) }
    }

    fn block_of(&mut self, signed: i64, min_len: usize) -> Result<usize> {
        let count = usize::try_from(signed.unsigned_abs()).map_err(|_| Fault::Length(signed))?;
        if signed < 0 {
            // The size lets a reader skip the block; here it is only checked.
            let size = self.long()?;
            if usize::try_from(size).map_or(true, |size| size > self.rest.len()) {
                return Err(Fault::Length(size).into());
            }
        }
        match count.checked_mul(min_len) {
            Some(least) if least <= self.rest.len() => Ok(count),
            Some(_) | None => Err(Fault::Length(signed).into()),
        }
    }
}

/// A number of big-endian two's complement, sign-extended to any length.
///
/// # Errors
/// No bytes, or more than 128 bits.
#[inline]
pub(crate) fn unscaled(bytes: &[u8]) -> Result<i128> {
    let negative = match bytes.first() {
        Some(first) => *first >= 0x80,
        None => return Err(Fault::Decimal("a decimal of no bytes".to_owned()).into()),
    };
    if bytes.len() <= 8 {
        let start = if negative { -1_i64 } else { 0 };
        return Ok(i128::from(bytes.iter().fold(start, |number, byte| (number << 8) | i64::from(*byte))));
    }
    wide_unscaled(bytes, negative)
}

fn wide_unscaled(bytes: &[u8], negative: bool) -> Result<i128> {
    let (padding, sign) = if negative { (0xff, -1_i128) } else { (0, 0) };
    let too_wide = || CodecError::new(Fault::Decimal("a decimal of more than 128 bits".to_owned()));
    let number = match bytes.split_last_chunk::<16>() {
        Some((longer, last)) if longer.iter().all(|byte| *byte == padding) => i128::from_be_bytes(*last),
        Some(_) => return Err(too_wide()),
        None => bytes.iter().fold(sign, |number, byte| (number << 8) | i128::from(*byte)),
    };
    // The padding may have hidden a bit that turns the sign.
    if (number < 0) == negative { Ok(number) } else { Err(too_wide()) }
}

#[cold]
fn truncated(missing: usize) -> CodecError {
    Fault::Truncated { missing }.into()
}

#[inline]
fn unzigzag(number: u64) -> i64 {
    (number >> 1).cast_signed() ^ -(number & 1).cast_signed()
}
