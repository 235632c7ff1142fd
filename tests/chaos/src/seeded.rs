//! Numbers from a seed: SplitMix64 (Steele, Lea, Flood 2014), enough to choose faults by.

/// A generator.
#[derive(Clone, Debug)]
pub struct Seeded(u64);

impl Seeded {
    /// Of a seed; `stream` names what the numbers are for, so that one use does not move another's.
    #[must_use]
    pub fn new(seed: u64, stream: &str) -> Self {
        // FNV-1a, only to keep the streams apart.
        let hash =
            stream.bytes().fold(0xcbf2_9ce4_8422_2325, |h: u64, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3));
        Self(seed ^ hash)
    }

    /// The next number.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `n`; 0 for 0.
    pub fn below(&mut self, n: u64) -> u64 {
        self.next_u64().checked_rem(n).unwrap_or(0)
    }

    /// A number from `low` to `high`, both included.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high.saturating_sub(low) + 1)
    }

    /// One of them.
    pub fn pick<'a, T>(&mut self, all: &'a [T]) -> Option<&'a T> {
        let at = self.below(u64::try_from(all.len()).unwrap_or(u64::MAX));
        all.get(usize::try_from(at).unwrap_or(0))
    }

    /// All of them in another order.
    pub fn shuffle<T>(&mut self, all: &mut [T]) {
        for at in (1..all.len()).rev() {
            let with = usize::try_from(self.below(u64::try_from(at + 1).unwrap_or(1))).unwrap_or(0);
            all.swap(at, with);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_and_another_stream_others() {
        let of = |seed, stream| (0..4).scan(Seeded::new(seed, stream), |s, _| Some(s.next_u64())).collect::<Vec<_>>();
        assert_eq!(of(7, "a"), of(7, "a"));
        assert_ne!(of(7, "a"), of(7, "b"));
        assert_ne!(of(7, "a"), of(8, "a"));
        let mut order: Vec<u32> = (0..9).collect();
        Seeded::new(1, "x").shuffle(&mut order);
        assert_ne!(order, (0..9).collect::<Vec<_>>());
        order.sort_unstable();
        assert_eq!(order, (0..9).collect::<Vec<_>>());
    }
}
