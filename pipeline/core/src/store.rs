//! Keyed state of one task.
//!
//! A store keeps its values decoded in memory. Two undo logs stand behind it: one for the record in hand, so that poison
//! leaves no half-applied state, and one for the batch, so that an aborted transaction leaves none either. The keys in
//! the batch's log are the ones whose last state goes to the changelog.

use std::any::Any;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use fillstream_schemas::codec::{AvroRecord, CodecError};

/// A keyed store of Avro records.
#[derive(Clone, Debug)]
pub struct Store<V> {
    map: BTreeMap<Arc<str>, V>,
    record_undo: Vec<(Arc<str>, Option<V>)>,
    batch_undo: BTreeMap<Arc<str>, Option<V>>,
}

impl<V> Default for Store<V> {
    fn default() -> Self {
        Self { map: BTreeMap::new(), record_undo: Vec::new(), batch_undo: BTreeMap::new() }
    }
}

impl<V: AvroRecord> Store<V> {
    /// The value of `key`.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&V> {
        self.map.get(key)
    }

    /// Sets the value of `key`.
    pub fn put(&mut self, key: &str, value: V) {
        let key: Arc<str> = key.into();
        let old = self.map.insert(Arc::clone(&key), value);
        self.record_undo.push((key, old));
    }

    /// Deletes `key` and gives its last value.
    pub fn remove(&mut self, key: &str) -> Option<V> {
        let (key, old) = self.map.remove_entry(key)?;
        self.record_undo.push((key, Some(old.clone())));
        Some(old)
    }

    /// Every entry, in key order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &V)> {
        self.map.iter().map(|(k, v)| (&**k, v))
    }

    /// Entries whose key starts with `prefix`, in key order.
    pub fn with_prefix<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = (&'a str, &'a V)> {
        self.map
            .range::<str, _>((Bound::Included(prefix), Bound::Unbounded))
            .take_while(move |(k, _)| k.starts_with(prefix))
            .map(|(k, v)| (&**k, v))
    }

    /// Number of entries.
    #[must_use]
    pub fn len(&self) -> usize {
        self.map.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.map.is_empty()
    }

    fn set(&mut self, key: Arc<str>, value: Option<V>) {
        match value {
            Some(value) => self.map.insert(key, value),
            None => self.map.remove(&key),
        };
    }
}

/// A changed key: its value now, encoded, or `None` where it was deleted.
pub type Change = (Arc<str>, Option<Vec<u8>>);

/// A store without its value type: what the engine works with.
pub trait AnyStore: Send {
    /// Full name of the values' schema.
    fn schema(&self) -> &'static str;
    /// Keeps the writes of the record in hand.
    fn keep_record(&mut self);
    /// Drops them.
    fn undo_record(&mut self);
    /// Forgets the batch's undo log: its transaction is committed.
    fn keep_batch(&mut self);
    /// Takes all writes of the batch back.
    fn undo_batch(&mut self);
    /// Keys touched by the batch with their last state, in key order. A key created and deleted in the batch stands too.
    fn changes(&self) -> Vec<Change>;
    /// Applies a changelog entry, outside any batch.
    ///
    /// # Errors
    /// When the bytes are not a value of this store.
    fn restore(&mut self, key: &str, value: Option<&[u8]>) -> Result<(), CodecError>;
    /// Every entry, encoded, in key order.
    fn dump(&self) -> Vec<(Arc<str>, Vec<u8>)>;
    /// Keys touched by the batch with their state before it, encoded, in key order.
    fn before(&self) -> Vec<Change>;
    /// Every entry after `key`, encoded, in key order, until `take` says no.
    fn after(&self, key: Option<&str>, take: &mut dyn FnMut(&Arc<str>, Vec<u8>) -> bool);
    /// As `Any`.
    fn as_any(&self) -> &dyn Any;
}

fn encoded<V: AvroRecord>(value: &V) -> Vec<u8> {
    let mut out = Vec::new();
    value.encode(&mut out);
    out
}

impl<V: AvroRecord + Send + 'static> AnyStore for Store<V> {
    fn schema(&self) -> &'static str {
        V::FULL_NAME
    }

    fn keep_record(&mut self) {
        for (key, old) in self.record_undo.drain(..) {
            self.batch_undo.entry(key).or_insert(old);
        }
    }

    fn undo_record(&mut self) {
        while let Some((key, old)) = self.record_undo.pop() {
            self.set(key, old);
        }
    }

    fn keep_batch(&mut self) {
        self.batch_undo.clear();
    }

    fn undo_batch(&mut self) {
        self.undo_record();
        for (key, old) in std::mem::take(&mut self.batch_undo) {
            self.set(key, old);
        }
    }

    fn changes(&self) -> Vec<Change> {
        self.batch_undo.keys().map(|key| (Arc::clone(key), self.map.get(key).map(encoded))).collect()
    }

    fn restore(&mut self, key: &str, value: Option<&[u8]>) -> Result<(), CodecError> {
        let value = value.map(V::decode).transpose()?;
        self.set(key.into(), value);
        Ok(())
    }

    fn dump(&self) -> Vec<(Arc<str>, Vec<u8>)> {
        self.map.iter().map(|(k, v)| (Arc::clone(k), encoded(v))).collect()
    }

    fn before(&self) -> Vec<Change> {
        self.batch_undo.iter().map(|(key, old)| (Arc::clone(key), old.as_ref().map(encoded))).collect()
    }

    fn after(&self, key: Option<&str>, take: &mut dyn FnMut(&Arc<str>, Vec<u8>) -> bool) {
        let from = key.map_or(Bound::Unbounded, Bound::Excluded);
        for (key, value) in self.map.range::<str, _>((from, Bound::Unbounded)) {
            if !take(key, encoded(value)) {
                return;
            }
        }
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// The stores of a stage. Made by [`stores!`](crate::stores).
pub trait Stores: Default + Send + 'static {
    /// Calls `f` with each store and its name, in declaration order.
    fn each(&mut self, f: &mut dyn FnMut(&'static str, &mut dyn AnyStore));
}

impl Stores for () {
    fn each(&mut self, _: &mut dyn FnMut(&'static str, &mut dyn AnyStore)) {}
}

/// Declares the stores of a stage: a struct with one [`Store`] a field; the string is its name in the changelog.
///
/// ```ignore
/// stores! {
///     /// What the stage remembers.
///     pub struct State { orders: ParentOrderState = "orders" }
/// }
/// ```
#[macro_export]
macro_rules! stores {
    ($(#[$meta:meta])* $vis:vis struct $name:ident { $($(#[$fmeta:meta])* $field:ident : $value:ty = $store:literal),+ $(,)? }) => {
        $(#[$meta])*
        #[derive(Default)]
        $vis struct $name { $($(#[$fmeta])* pub $field: $crate::store::Store<$value>),+ }
        impl $crate::store::Stores for $name {
            fn each(&mut self, f: &mut dyn FnMut(&'static str, &mut dyn $crate::store::AnyStore)) {
                $(f($store, &mut self.$field);)+
            }
        }
    };
}
