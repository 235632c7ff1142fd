//! The writer's bytes to the reader's value, by the plan.

use super::plan::{Move, Plan, Step, owned};
use crate::Value;
use crate::codec::{CodecError, Fault};
use crate::schema::Walk;

type Result<T> = std::result::Result<T, CodecError>;

impl Plan {
    pub(super) fn run(&self, walk: &mut Walk<'_, '_>) -> Result<Value> {
        self.root.run(walk)
    }
}

impl Step {
    fn run(&self, walk: &mut Walk<'_, '_>) -> Result<Value> {
        walk.enter()?;
        let value = self.run_inside(walk)?;
        walk.leave();
        Ok(value)
    }

    fn run_inside(&self, walk: &mut Walk<'_, '_>) -> Result<Value> {
        Ok(match self {
            Self::Read(id) => walk.value(*id)?,
            Self::IntToLong => Value::Long(i64::from(walk.input.int()?)),
            Self::IntegerToDouble => Value::Double(double(walk.input.long()?)?),
            Self::MillisToMicros => {
                let millis = walk.input.long()?;
                let micros = millis.checked_mul(1000);
                let too_far = || Fault::Unresolved(format!("{millis} ms are more microseconds than a long holds"));
                Value::Timestamp(micros.ok_or_else(too_far)?)
            }
            Self::Date => Value::Date(walk.input.int()?),
            Self::Timestamp => Value::Timestamp(walk.input.long()?),
            Self::PlainInt => Value::Int(walk.input.int()?),
            Self::PlainLong => Value::Long(walk.input.long()?),
            Self::TextToBytes => Value::Bytes(walk.input.bytes()?.to_vec()),
            Self::BytesToText => Value::Text(walk.input.text()?.to_owned()),
            Self::Decimal { fixed, writer_scale, reader_scale } => {
                let unscaled = rescale(walk.unscaled(*fixed)?, *writer_scale, *reader_scale)?;
                Value::Decimal { unscaled, scale: *reader_scale }
            }
            Self::Enum { name, symbols } => match walk.symbol(name, symbols)? {
                (_, Some(ours)) => Value::Symbol(owned(ours)),
                (theirs, None) => return Err(Fault::Symbol { name: name.clone(), symbol: theirs.clone() }.into()),
            },
            Self::Array(item) => Value::Array(walk.array(|walk| item.run(walk))?),
            Self::Map(item) => Value::Map(walk.map(|walk| item.run(walk))?),
            Self::Record { moves, slots } => record(moves, slots, walk)?,
            Self::Union(branches) => match walk.branch(branches)? {
                Ok(step) => step.run(walk)?,
                Err(reason) => return Err(Fault::Unresolved(reason.clone()).into()),
            },
        })
    }
}

fn record(moves: &[Move], slots: &[(String, Value)], walk: &mut Walk<'_, '_>) -> Result<Value> {
    let mut values: Vec<_> = slots.iter().map(|(name, value)| (owned(name), value.clone())).collect();
    for step in moves {
        match step {
            Move::To { slot, step, name } => {
                let value = step.run(walk).map_err(|error| error.in_field(name.clone()))?;
                if let Some(place) = values.get_mut(*slot) {
                    place.1 = value;
                }
            }
            Move::Skip { id, name } => walk.skip(*id).map_err(|error| error.in_field(name.clone()))?,
        }
    }
    Ok(Value::Record(values))
}

/// The same number at another scale, exact or an error.
fn rescale(unscaled: i128, from: u32, to: u32) -> Result<i128> {
    let factor = 10_i128.checked_pow(from.abs_diff(to));
    let scaled = match factor {
        Some(factor) if from <= to => unscaled.checked_mul(factor),
        Some(factor) if unscaled % factor == 0 => Some(unscaled / factor),
        Some(_) | None => None,
    };
    let inexact = || Fault::Decimal(format!("{unscaled} * 10^-{from} is not exact at scale {to}"));
    Ok(if unscaled == 0 { 0 } else { scaled.ok_or_else(inexact)? })
}

/// Avro promotes integers to doubles; the nearest double is the one their text names.
fn double(number: i64) -> Result<f64> {
    number.to_string().parse().map_err(|_| Fault::NotFinite.into())
}
