//! The two undo logs of a store, against a map that is copied.

use std::collections::BTreeMap;

use fillstream_core::store::{AnyStore, Store};
use fillstream_schemas::AvroRecord;
use fillstream_schemas::engine::InputRun;
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Step {
    Put(u8, i32),
    Remove(u8),
    KeepRecord,
    UndoRecord,
    KeepBatch,
    UndoBatch,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        5 => (0..5_u8, any::<i32>()).prop_map(|(key, count)| Step::Put(key, count)),
        3 => (0..5_u8).prop_map(Step::Remove),
        4 => Just(Step::KeepRecord),
        2 => Just(Step::UndoRecord),
        1 => Just(Step::KeepBatch),
        1 => Just(Step::UndoBatch),
    ]
}

fn run(count: i32) -> InputRun {
    InputRun { count, ..InputRun::default() }
}

fn entries(store: &Store<InputRun>) -> BTreeMap<String, i32> {
    store.iter().map(|(key, run)| (key.to_owned(), run.count)).collect()
}

proptest! {
    #[test]
    fn undo_goes_back_to_the_record_or_the_batch_and_changes_rebuild_the_state(
        steps in prop::collection::vec(step(), 0..80),
    ) {
        let mut store = Store::<InputRun>::default();
        // What a reader of the changelog has, with the state at the last commit and at the last record.
        let mut changelog = Store::<InputRun>::default();
        let (mut committed, mut kept) = (BTreeMap::new(), BTreeMap::new());
        for step in steps {
            match step {
                Step::Put(key, count) => store.put(&format!("k{key}"), run(count)),
                Step::Remove(key) => {
                    let key = format!("k{key}");
                    prop_assert_eq!(store.get(&key).cloned(), store.remove(&key));
                }
                Step::KeepRecord => {
                    store.keep_record();
                    kept = entries(&store);
                }
                Step::UndoRecord => {
                    store.undo_record();
                    prop_assert_eq!(&entries(&store), &kept);
                }
                Step::KeepBatch => {
                    store.keep_record();
                    for (key, value) in store.changes() {
                        changelog.restore(&key, value.as_deref()).unwrap();
                    }
                    store.keep_batch();
                    (committed, kept) = (entries(&store), entries(&store));
                    prop_assert_eq!(&entries(&changelog), &committed);
                }
                Step::UndoBatch => {
                    store.undo_batch();
                    kept.clone_from(&committed);
                    prop_assert_eq!(&entries(&store), &committed);
                    prop_assert!(store.changes().is_empty());
                }
            }
        }
    }
}

#[test]
fn a_prefix_finds_its_keys_and_no_neighbours() {
    let mut store = Store::<InputRun>::default();
    for key in ["a", "a/1", "a/2", "a0", "b/1"] {
        store.put(key, run(1));
    }
    assert_eq!(store.with_prefix("a/").map(|(key, _)| key).collect::<Vec<_>>(), ["a/1", "a/2"]);
    assert_eq!(store.with_prefix("").count(), store.len());
}

#[test]
fn bytes_of_another_record_are_refused_and_change_nothing() {
    let mut store = Store::<InputRun>::default();
    store.restore("k", Some(&run(1).to_bytes())).unwrap();
    assert!(store.restore("k", Some(&[7])).is_err());
    assert_eq!(entries(&store), BTreeMap::from([("k".to_owned(), 1)]));
}
