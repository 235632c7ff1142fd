//! The random numbers of the synthetic market: whole numbers, the same on every machine and in every release.

/// xoshiro256** seeded by SplitMix64 (Blackman and Vigna, public domain).
#[derive(Debug, Clone)]
pub struct Prng {
    state: [u64; 4],
}

/// Quantiles of the exponential distribution with mean 1, in 1/1024: `-ln(1 - (i + 1/2) / 64)`.
const EXPONENTIAL: [i128; 64] = [
    8, 24, 41, 58, 75, 92, 110, 128, 146, 165, 184, 203, 223, 243, 263, 284, 305, 327, 349, 372, 395, 419, 444, 469,
    494, 520, 547, 575, 603, 633, 663, 694, 726, 759, 793, 828, 865, 903, 942, 983, 1026, 1070, 1117, 1166, 1217, 1271,
    1328, 1388, 1452, 1520, 1594, 1672, 1758, 1851, 1953, 2067, 2195, 2342, 2513, 2719, 2976, 3320, 3844, 4968,
];

impl Prng {
    /// The generator of a seed and a name: different names give independent streams.
    #[must_use]
    pub fn new(seed: u64, name: &str) -> Self {
        // FNV-1a spreads the name over 64 bits; SplitMix64 then fills the state.
        let hash = name
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        let mut mixer = seed ^ hash.rotate_left(32);
        let mut split_mix = || {
            mixer = mixer.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let z = (mixer ^ (mixer >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^ (z >> 31)
        };
        Self { state: [split_mix(), split_mix(), split_mix(), split_mix()] }
    }

    /// 64 random bits.
    pub fn next_u64(&mut self) -> u64 {
        let [s0, s1, s2, s3] = self.state;
        let result = s1.wrapping_mul(5).rotate_left(7).wrapping_mul(9);
        let (s2, s3) = (s2 ^ s0, s3 ^ s1);
        self.state = [s0 ^ s3, s1 ^ s2, s2 ^ (s1 << 17), s3.rotate_left(45)];
        result
    }

    /// A number from 0 to `n - 1`; 0 for `n` below 1. The bias is below `n / 2^64`.
    pub fn below(&mut self, n: i128) -> i128 {
        if n < 1 { 0 } else { i128::from(self.next_u64()) % n }
    }

    /// `mean` times an exponential variate of mean 1 (64 quantiles).
    pub fn exponential(&mut self, mean: i128) -> i128 {
        let index = usize::try_from(self.next_u64() >> 58).unwrap_or_default();
        mean * EXPONENTIAL.get(index).copied().unwrap_or(1024) / 1024
    }

    /// A nearly normal variate of mean 0 and standard deviation 65,536: the sum of 12 uniform ones, within
    /// 6 standard deviations.
    pub fn normal(&mut self) -> i128 {
        let sum: i128 = (0..3)
            .map(|_| {
                let bits = self.next_u64();
                (0..4).map(|part| i128::from((bits >> (16 * part)) & 0xffff)).sum::<i128>()
            })
            .sum();
        sum - 6 * 65_536
    }
}

#[cfg(test)]
mod tests {
    use super::Prng;

    #[test]
    fn the_stream_is_fixed_by_seed_and_name() {
        let take = |seed, name| {
            let mut prng = Prng::new(seed, name);
            [prng.next_u64(), prng.next_u64()]
        };
        assert_eq!(take(1, "ACME"), take(1, "ACME"));
        assert_ne!(take(1, "ACME"), take(2, "ACME"));
        assert_ne!(take(1, "ACME"), take(1, "ACMF"));
    }

    #[test]
    fn the_generator_is_xoshiro256_starstar() {
        // First outputs for the state 1, 2, 3, 4, from the authors' reference code.
        let mut prng = Prng { state: [1, 2, 3, 4] };
        assert_eq!([prng.next_u64(), prng.next_u64(), prng.next_u64()], [11520, 0, 1_509_978_240]);
    }

    #[test]
    fn moments_are_as_documented() {
        let mut prng = Prng::new(7, "moments");
        let n = 100_000;
        let normals: Vec<i128> = (0..n).map(|_| prng.normal()).collect();
        let mean = normals.iter().sum::<i128>() / n;
        let variance = normals.iter().map(|x| x * x).sum::<i128>() / n;
        assert!(mean.abs() < 1_000, "{mean}");
        assert!((variance - 65_536 * 65_536).abs() < 65_536 * 65_536 / 50, "{variance}");
        let exponential = (0..n).map(|_| prng.exponential(1_000_000)).sum::<i128>() / n;
        assert!((exponential - 1_000_000).abs() < 20_000, "{exponential}");
        let uniform = (0..n).map(|_| prng.below(10)).sum::<i128>();
        assert!((uniform - n * 9 / 2).abs() < n / 50, "{uniform}");
    }
}
