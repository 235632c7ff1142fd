//! How each Avro type is written and read. The generated code names these types field by field.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::marker::PhantomData;

use fillstream_domain::{AvroEnum, FixedDecimal};

use super::error::{CodecError, Fault};
use super::reader::Reader;
use super::{AvroRecord, write};
use crate::{Finite, TimestampMicros, Value};

type Result<T> = std::result::Result<T, CodecError>;

/// Items for which an array reserves memory before the first is read.
const RESERVED_ITEMS: usize = 256;

/// An Avro type with the Rust type that holds it.
pub trait Codec {
    /// The Rust type.
    type Native: Clone + Debug + PartialEq;
    /// Bytes of the shortest value: it bounds the counts that hostile bytes can claim. 0 only for a record without fields,
    /// which no array holds.
    const MIN_LEN: usize;

    /// The value of a field that has no default, in `Default` of its record.
    fn initial() -> Self::Native;
    /// Appends the value.
    fn write(value: &Self::Native, out: &mut Vec<u8>);
    /// Reads a value.
    ///
    /// # Errors
    /// The bytes are no value of the type.
    fn read(input: &mut Reader<'_>) -> Result<Self::Native>;
    /// The value for generic use.
    fn value(native: &Self::Native) -> Value;
}

/// `boolean`
#[derive(Debug)]
pub struct Boolean;
/// `int`
#[derive(Debug)]
pub struct Int;
/// `int` with `date`, in days since 1970-01-01
#[derive(Debug)]
pub struct Date;
/// `long`
#[derive(Debug)]
pub struct Long;
/// `double`
#[derive(Debug)]
pub struct Double;
/// `string`
#[derive(Debug)]
pub struct Text;
/// `bytes`
#[derive(Debug)]
pub struct Bytes;
/// `long` with `timestamp-micros`
#[derive(Debug)]
pub struct Timestamp;
/// `fixed` of `N` bytes
#[derive(Debug)]
pub struct Fixed<const N: usize>;
/// `bytes` with `decimal`
#[derive(Debug)]
pub struct Decimal<T>(PhantomData<T>);
/// `enum`
#[derive(Debug)]
pub struct Enumeration<T>(PhantomData<T>);
/// `record`
#[derive(Debug)]
pub struct Nested<T>(PhantomData<T>);
/// A union of null, at branch `NULL`, and another type
#[derive(Debug)]
pub struct Optional<C, const NULL: u8>(PhantomData<C>);
/// `array`
#[derive(Debug)]
pub struct Array<C>(PhantomData<C>);
/// `map`
#[derive(Debug)]
pub struct Map<C>(PhantomData<C>);

impl Codec for Boolean {
    type Native = bool;
    const MIN_LEN: usize = 1;

    fn initial() -> bool {
        false
    }
    #[inline]
    fn write(value: &bool, out: &mut Vec<u8>) {
        out.push(u8::from(*value));
    }
    #[inline]
    fn read(input: &mut Reader<'_>) -> Result<bool> {
        input.boolean()
    }
    fn value(native: &bool) -> Value {
        Value::Boolean(*native)
    }
}

impl Codec for Int {
    type Native = i32;
    const MIN_LEN: usize = 1;

    fn initial() -> i32 {
        0
    }
    #[inline]
    fn write(value: &i32, out: &mut Vec<u8>) {
        write::long(i64::from(*value), out);
    }
    #[inline]
    fn read(input: &mut Reader<'_>) -> Result<i32> {
        input.int()
    }
    fn value(native: &i32) -> Value {
        Value::Int(*native)
    }
}

impl Codec for Date {
    type Native = i32;
    const MIN_LEN: usize = 1;

    fn initial() -> i32 {
        0
    }
    #[inline]
    fn write(value: &i32, out: &mut Vec<u8>) {
        Int::write(value, out);
    }
    #[inline]
    fn read(input: &mut Reader<'_>) -> Result<i32> {
        input.int()
    }
    fn value(native: &i32) -> Value {
        Value::Date(*native)
    }
}

impl Codec for Long {
    type Native = i64;
    const MIN_LEN: usize = 1;

    fn initial() -> i64 {
        0
    }
    #[inline]
    fn write(value: &i64, out: &mut Vec<u8>) {
        write::long(*value, out);
    }
    #[inline]
    fn read(input: &mut Reader<'_>) -> Result<i64> {
        input.long()
    }
    fn value(native: &i64) -> Value {
        Value::Long(*native)
    }
}

impl Codec for Timestamp {
    type Native = TimestampMicros;
    const MIN_LEN: usize = 1;

    fn initial() -> TimestampMicros {
        TimestampMicros::from_micros(0)
    }
    #[inline]
    fn write(value: &TimestampMicros, out: &mut Vec<u8>) {
        write::long(value.micros(), out);
    }
    #[inline]
    fn read(input: &mut Reader<'_>) -> Result<TimestampMicros> {
        input.long().map(TimestampMicros::from_micros)
    }
    fn value(native: &TimestampMicros) -> Value {
        Value::Timestamp(native.micros())
    }
}

impl Codec for Double {
    type Native = Finite;
    const MIN_LEN: usize = 8;

    fn initial() -> Finite {
        Finite::ZERO
    }
    #[inline]
    fn write(value: &Finite, out: &mut Vec<u8>) {
        out.extend_from_slice(&value.get().to_le_bytes());
    }
    #[inline]
    fn read(input: &mut Reader<'_>) -> Result<Finite> {
        Finite::new(input.double()?).map_err(|_| Fault::NotFinite.into())
    }
    fn value(native: &Finite) -> Value {
        Value::Double(native.get())
    }
}

impl Codec for Text {
    type Native = String;
    const MIN_LEN: usize = 1;

    fn initial() -> String {
        String::new()
    }
    #[inline]
    fn write(value: &String, out: &mut Vec<u8>) {
        write::bytes(value.as_bytes(), out);
    }
    #[inline]
    fn read(input: &mut Reader<'_>) -> Result<String> {
        input.text().map(str::to_owned)
    }
    fn value(native: &String) -> Value {
        Value::Text(native.clone())
    }
}

impl Codec for Bytes {
    type Native = Vec<u8>;
    const MIN_LEN: usize = 1;

    fn initial() -> Vec<u8> {
        Vec::new()
    }
    #[inline]
    fn write(value: &Vec<u8>, out: &mut Vec<u8>) {
        write::bytes(value, out);
    }
    #[inline]
    fn read(input: &mut Reader<'_>) -> Result<Vec<u8>> {
        input.bytes().map(<[u8]>::to_vec)
    }
    fn value(native: &Vec<u8>) -> Value {
        Value::Bytes(native.clone())
    }
}

impl<const N: usize> Codec for Fixed<N> {
    type Native = [u8; N];
    const MIN_LEN: usize = N;

    fn initial() -> [u8; N] {
        [0; N]
    }
    #[inline]
    fn write(value: &[u8; N], out: &mut Vec<u8>) {
        out.extend_from_slice(value);
    }
    #[inline]
    fn read(input: &mut Reader<'_>) -> Result<[u8; N]> {
        input.array()
    }
    fn value(native: &[u8; N]) -> Value {
        Value::Fixed(native.to_vec())
    }
}

impl<T: FixedDecimal> Codec for Decimal<T> {
    type Native = T;
    const MIN_LEN: usize = 2;

    fn initial() -> T {
        T::default()
    }
    #[inline]
    fn write(value: &T, out: &mut Vec<u8>) {
        write::unscaled(value.unscaled(), out);
    }
    #[inline]
    fn read(input: &mut Reader<'_>) -> Result<T> {
        T::from_unscaled(input.unscaled()?).map_err(|error| Fault::Decimal(error.to_string()).into())
    }
    fn value(native: &T) -> Value {
        Value::Decimal { unscaled: native.unscaled(), scale: T::SCALE }
    }
}

impl<T: AvroEnum> Enumeration<T> {
    const FIRST: T = match T::ALL {
        [first, ..] => *first,
        // Reached only while compiling: the generator refuses an enum without symbols.
        [] => panic!("an enum without symbols"),
    };
}

impl<T: AvroEnum + Debug> Codec for Enumeration<T> {
    type Native = T;
    const MIN_LEN: usize = 1;

    fn initial() -> T {
        Self::FIRST
    }
    #[inline]
    fn write(value: &T, out: &mut Vec<u8>) {
        write::long(i64::from(value.index()), out);
    }
    #[inline]
    fn read(input: &mut Reader<'_>) -> Result<T> {
        let index = input.int()?;
        match T::from_index(index) {
            Some(value) => Ok(value),
            None => Err(Fault::SymbolIndex { name: T::NAME.to_owned(), index: i64::from(index) }.into()),
        }
    }
    fn value(native: &T) -> Value {
        Value::Symbol(native.as_str().into())
    }
}

impl<T: AvroRecord + Default> Codec for Nested<T> {
    type Native = T;
    const MIN_LEN: usize = T::MIN_LEN;

    fn initial() -> T {
        T::default()
    }
    #[inline]
    fn write(value: &T, out: &mut Vec<u8>) {
        value.write(out);
    }
    #[inline]
    fn read(input: &mut Reader<'_>) -> Result<T> {
        T::read(input)
    }
    fn value(native: &T) -> Value {
        native.to_value()
    }
}

impl<C: Codec, const NULL: u8> Codec for Optional<C, NULL> {
    type Native = Option<C::Native>;
    const MIN_LEN: usize = 1;

    fn initial() -> Self::Native {
        None
    }
    #[inline]
    fn write(value: &Self::Native, out: &mut Vec<u8>) {
        // Branches 0 and 1 are the bytes 0 and 2.
        match value {
            None => out.push(NULL * 2),
            Some(value) => {
                out.push(2 - NULL * 2);
                C::write(value, out);
            }
        }
    }
    #[inline]
    fn read(input: &mut Reader<'_>) -> Result<Self::Native> {
        match input.long()? {
            branch if branch == i64::from(NULL) => Ok(None),
            0 | 1 => C::read(input).map(Some),
            other => Err(Fault::Branch(other).into()),
        }
    }
    fn value(native: &Self::Native) -> Value {
        native.as_ref().map_or(Value::Null, C::value)
    }
}

impl<C: Codec> Codec for Array<C> {
    type Native = Vec<C::Native>;
    const MIN_LEN: usize = 1;

    fn initial() -> Self::Native {
        Vec::new()
    }
    fn write(value: &Self::Native, out: &mut Vec<u8>) {
        if !value.is_empty() {
            write::length(value.len(), out);
            for item in value {
                C::write(item, out);
            }
        }
        out.push(0);
    }
    fn read(input: &mut Reader<'_>) -> Result<Self::Native> {
        const { assert!(C::MIN_LEN > 0, "an array of items without bytes could claim any count") };
        let mut items = Vec::new();
        loop {
            let count = input.block(C::MIN_LEN)?;
            if count == 0 {
                return Ok(items);
            }
            items.reserve(count.min(RESERVED_ITEMS));
            for _ in 0..count {
                match C::read(input) {
                    Ok(item) => items.push(item),
                    Err(error) => return Err(error.in_item(items.len())),
                }
            }
        }
    }
    fn value(native: &Self::Native) -> Value {
        Value::Array(native.iter().map(C::value).collect())
    }
}

impl<C: Codec> Codec for Map<C> {
    type Native = BTreeMap<String, C::Native>;
    const MIN_LEN: usize = 1;

    fn initial() -> Self::Native {
        BTreeMap::new()
    }
    fn write(value: &Self::Native, out: &mut Vec<u8>) {
        if !value.is_empty() {
            write::length(value.len(), out);
            for (key, item) in value {
                write::bytes(key.as_bytes(), out);
                C::write(item, out);
            }
        }
        out.push(0);
    }
    fn read(input: &mut Reader<'_>) -> Result<Self::Native> {
        let mut items = BTreeMap::new();
        loop {
            let count = input.block(C::MIN_LEN + 1)?;
            if count == 0 {
                return Ok(items);
            }
            for _ in 0..count {
                let key = input.text()?;
                match C::read(input) {
                    Ok(item) => items.insert(key.to_owned(), item),
                    Err(error) => return Err(error.in_key(key)),
                };
            }
        }
    }
    fn value(native: &Self::Native) -> Value {
        Value::Map(native.iter().map(|(key, item)| (key.clone(), C::value(item))).collect())
    }
}
