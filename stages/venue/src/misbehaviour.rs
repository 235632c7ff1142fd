//! What goes wrong on purpose, as a function of seed and id alone.

use crate::config::Misbehaviour;
use crate::report::RejectCode;
use fillstream_domain::Ratio;

/// What becomes of an order on arrival.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Normal,
    Rejected(RejectCode),
    Swallowed,
}

/// 64 bits of a seed, a purpose and an id: FNV-1a, then two steps of SplitMix64.
pub(crate) fn draw(seed: u64, purpose: &str, id: &str) -> u64 {
    let bytes = seed.to_le_bytes().into_iter().chain(purpose.bytes()).chain([0]).chain(id.bytes());
    let hash =
        bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    // Ids that differ in their last digits only give alike FNV hashes: one round of mixing leaves clumps.
    split_mix(split_mix(hash))
}

/// A step of SplitMix64.
const fn split_mix(state: u64) -> u64 {
    let z = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Whether a draw falls into a share.
fn hits(draw: u64, share: Ratio) -> bool {
    i128::from(draw) % Ratio::ONE.unscaled() < share.unscaled()
}

impl Misbehaviour {
    pub(crate) fn fate(&self, seed: u64, client_order_id: &str) -> Fate {
        if hits(draw(seed, "silence", client_order_id), self.silence_share) {
            return Fate::Swallowed;
        }
        if !hits(draw(seed, "reject", client_order_id), self.reject_share) {
            return Fate::Normal;
        }
        Fate::Rejected(match draw(seed, "reject code", client_order_id) % 4 {
            0 => RejectCode::VenueBusy,
            1 => RejectCode::Throttled,
            2 => RejectCode::CreditLimit,
            _ => RejectCode::SystemError,
        })
    }

    /// How much later than usual a fill is reported, microseconds.
    pub(crate) fn lateness_us(&self, seed: u64, exec_id: &str) -> i64 {
        if !hits(draw(seed, "late", exec_id), self.late_share) {
            return 0;
        }
        let width = i128::from(self.late_max_us) - i128::from(self.late_min_us) + 1;
        let extra = i128::from(draw(seed, "lateness", exec_id)) % width.max(1);
        i64::try_from(i128::from(self.late_min_us) + extra).unwrap_or(self.late_max_us)
    }

    pub(crate) fn repeats(&self, seed: u64, exec_id: &str) -> bool {
        hits(draw(seed, "repeat", exec_id), self.repeat_share)
    }
}

#[cfg(test)]
mod tests {
    use super::{Fate, draw};
    use crate::config::{Misbehaviour, hundredths};
    use std::collections::BTreeMap;

    #[test]
    fn shares_and_codes_come_out_as_configured() {
        let behaviour = Misbehaviour { silence_share: hundredths(2), ..Misbehaviour::default() };
        let (mut fates, mut late, mut repeated) = (BTreeMap::new(), 0, 0);
        for n in 0..20_000 {
            let id = format!("ORD-{n}");
            *fates.entry(format!("{:?}", behaviour.fate(9, &id))).or_insert(0) += 1;
            let lateness = behaviour.lateness_us(9, &id);
            assert!(lateness == 0 || (300_000..=3_000_000).contains(&lateness));
            late += i32::from(lateness > 0);
            repeated += i32::from(behaviour.repeats(9, &id));
        }
        let rejected: i32 = fates.iter().filter(|(name, _)| name.contains("Rejected")).map(|(_, n)| n).sum();
        assert_eq!(fates.len(), 6, "{fates:?}");
        assert!((1_000..1_400).contains(&rejected), "{fates:?}");
        assert!((300..500).contains(&fates["Swallowed"]), "{fates:?}");
        assert!((900..1_100).contains(&late) && (500..700).contains(&repeated), "{late} {repeated}");
    }

    #[test]
    fn seed_purpose_and_id_each_decide() {
        assert_eq!(draw(1, "a", "b"), draw(1, "a", "b"));
        assert_ne!(draw(1, "a", "b"), draw(2, "a", "b"));
        assert_ne!(draw(1, "a", "b"), draw(1, "b", "b"));
        assert_ne!(draw(1, "a", "bc"), draw(1, "ab", "c"));
        assert_eq!(Misbehaviour::none().fate(1, "X"), Fate::Normal);
    }
}
