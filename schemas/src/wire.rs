//! The Confluent wire format: a zero byte, the schema's id as 4 bytes big-endian, the record.

/// Bytes before the record.
pub const HEADER_LEN: usize = 5;

/// Bytes that are not in the wire format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// Fewer bytes than the header.
    #[error("{0} bytes are too few for the wire format's header")]
    TooShort(usize),
    /// Another first byte than 0.
    #[error("the wire format starts with byte 0, not {0}")]
    Magic(u8),
}

/// The schema's id and the record's bytes.
///
/// # Errors
/// Too short, or not in this format.
pub fn split(bytes: &[u8]) -> Result<(u32, &[u8]), WireError> {
    match bytes.split_first_chunk::<HEADER_LEN>() {
        Some(([0, id @ ..], record)) => Ok((u32::from_be_bytes(*id), record)),
        Some(([magic, ..], _)) => Err(WireError::Magic(*magic)),
        None => Err(WireError::TooShort(bytes.len())),
    }
}

/// Appends the header; the record follows.
pub fn frame(id: u32, out: &mut Vec<u8>) {
    out.push(0);
    out.extend_from_slice(&id.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_splits_into_what_it_was_made_of() {
        let mut bytes = Vec::new();
        frame(0x0102_0304, &mut bytes);
        assert_eq!(bytes, [0, 1, 2, 3, 4]);
        bytes.extend_from_slice(b"record");
        assert_eq!(split(&bytes), Ok((0x0102_0304, b"record".as_slice())));
    }

    #[test]
    fn other_bytes_are_refused() {
        assert_eq!(split(&[]), Err(WireError::TooShort(0)));
        assert_eq!(split(&[0, 0, 0, 0]), Err(WireError::TooShort(4)));
        assert_eq!(split(&[1, 0, 0, 0, 1]), Err(WireError::Magic(1)));
        assert_eq!(split(&[0, 0, 0, 0, 1]), Ok((1, [].as_slice())));
    }
}
