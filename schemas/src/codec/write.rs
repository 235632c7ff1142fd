//! Writing of Avro binary.

/// A `long` or an `int`.
#[inline]
pub(crate) fn long(value: i64, out: &mut Vec<u8>) {
    let number = ((value << 1) ^ (value >> 63)).cast_unsigned();
    if number < 0x80 {
        let [low, ..] = number.to_le_bytes();
        out.push(low);
    } else {
        long_of_many_bytes(number, out);
    }
}

fn long_of_many_bytes(mut number: u64, out: &mut Vec<u8>) {
    let mut buffer = [0_u8; 10];
    let mut used = 0_usize;
    for slot in &mut buffer {
        let [low, ..] = number.to_le_bytes();
        number >>= 7;
        used += 1;
        if number == 0 {
            *slot = low & 0x7f;
            break;
        }
        *slot = low | 0x80;
    }
    out.extend_from_slice(buffer.get(..used).unwrap_or_default());
}

/// A length or count. No allocation exceeds `isize::MAX`, so it always fits.
#[inline]
pub(crate) fn length(length: usize, out: &mut Vec<u8>) {
    long(i64::try_from(length).unwrap_or(i64::MAX), out);
}

/// `bytes` or `string`.
#[inline]
pub(crate) fn bytes(bytes: &[u8], out: &mut Vec<u8>) {
    length(bytes.len(), out);
    out.extend_from_slice(bytes);
}

/// A `decimal` held in bytes: the shortest big-endian two's complement, as the Java library writes it.
#[inline]
pub(crate) fn unscaled(value: i128, out: &mut Vec<u8>) {
    if let Ok(value) = i64::try_from(value) {
        let redundant = redundant((value ^ (value >> 63)).leading_zeros());
        bytes(value.to_be_bytes().get(redundant..).unwrap_or_default(), out);
    } else {
        let redundant = redundant((value ^ (value >> 127)).leading_zeros());
        bytes(value.to_be_bytes().get(redundant..).unwrap_or_default(), out);
    }
}

/// Leading bytes that only repeat the sign, for a number whose magnitude has so many leading zeros: one bit must stay.
#[inline]
fn redundant(leading_zeros: u32) -> usize {
    usize::try_from(leading_zeros.saturating_sub(1) / 8).unwrap_or(0)
}
