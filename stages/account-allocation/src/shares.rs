//! A number of lots over claims, to the last lot.
//!
//! **Rule of the remainder.** Each claim gets its share rounded down; the lots that are left go one each to the claims
//! with the largest fractions lost, ties to the earlier claim. With claims in the order of their account ids this is the
//! largest remainder method (Hamilton), ties by account id: 400 over 6 equal claims is 67, 67, 67, 67, 66, 66.

use fillstream_domain::{NumberError, Rounding, mul_div_i128};

/// What an account may claim of a total.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Its weight, not negative; zero claims nothing.
    pub weight: i128,
    /// Most that it takes, lots; `None`: no cap.
    pub cap: Option<i128>,
}

impl Claim {
    /// Whether `lots` are more than it takes.
    fn is_over(&self, lots: i128) -> bool {
        self.cap.is_some_and(|cap| lots > cap)
    }
}

/// `total` lots in proportion to the weights, none above its cap; what a capped claim leaves goes to the others.
///
/// The sum is `total`, or what the caps of the claims with weight allow where that is less.
///
/// # Errors
/// The sum of the weights is out of range.
pub fn pro_rata(total: i128, claims: &[Claim]) -> Result<Vec<i128>, NumberError> {
    let mut shares: Vec<Option<i128>> = claims.iter().map(|c| (c.weight <= 0).then_some(0)).collect();
    let mut left = total.max(0);
    loop {
        let free = || claims.iter().zip(&shares).filter(|(_, share)| share.is_none()).map(|(claim, _)| claim);
        let weights = sum(free().map(|claim| claim.weight))?;
        let parts: Vec<Part> = free().map(|claim| part(left, claim.weight, weights)).collect::<Result<_, _>>()?;
        // A share that is over its cap by a fraction of a lot is over it too.
        let over = free().zip(&parts).any(|(claim, part)| claim.is_over(part.ceiling()));
        if !over {
            return Ok(finish(left, &parts, &shares));
        }
        let mut next = parts.iter();
        for (share, claim) in shares.iter_mut().zip(claims) {
            if share.is_some() {
                continue;
            }
            let Some(part) = next.next() else { break };
            if let Some(cap) = claim.cap.filter(|cap| part.ceiling() > *cap) {
                let capped = cap.max(0);
                left -= capped;
                *share = Some(capped);
            }
        }
    }
}

/// `total` lots to the claims one after another, each up to its cap.
#[must_use]
pub fn in_order(total: i128, claims: &[Claim]) -> Vec<i128> {
    let mut left = total.max(0);
    let take = |claim: &Claim| {
        let wanted = if claim.weight > 0 { claim.cap.map_or(left, |cap| cap.clamp(0, left)) } else { 0 };
        left -= wanted;
        wanted
    };
    claims.iter().map(take).collect()
}

struct Part {
    floor: i128,
    /// What rounding down lost, in units of 1 / sum of the weights.
    lost: i128,
}

impl Part {
    fn ceiling(&self) -> i128 {
        self.floor + i128::from(self.lost > 0)
    }
}

fn part(total: i128, weight: i128, weights: i128) -> Result<Part, NumberError> {
    let floor = mul_div_i128(total, weight, weights, Rounding::Floor)?;
    // The difference is below `weights`, so what both products lose beyond 128 bits is the same.
    let lost = total.wrapping_mul(weight).wrapping_sub(floor.wrapping_mul(weights));
    Ok(Part { floor, lost })
}

fn finish(total: i128, parts: &[Part], shares: &[Option<i128>]) -> Vec<i128> {
    let left = total - parts.iter().map(|part| part.floor).sum::<i128>();
    let mut by_loss: Vec<usize> = (0..parts.len()).collect();
    // Stable: ties stay in the order of the claims.
    by_loss.sort_by_key(|n| std::cmp::Reverse(parts.get(*n).map_or(0, |part| part.lost)));
    let more: std::collections::BTreeSet<usize> =
        by_loss.into_iter().take(usize::try_from(left).unwrap_or(0)).collect();
    let mut free = parts.iter().enumerate().map(|(n, part)| part.floor + i128::from(more.contains(&n)));
    shares.iter().map(|share| share.or_else(|| free.next()).unwrap_or(0)).collect()
}

fn sum(values: impl IntoIterator<Item = i128>) -> Result<i128, NumberError> {
    values.into_iter().try_fold(0_i128, |sum, value| sum.checked_add(value).ok_or(NumberError::Overflow))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn free(weights: &[i128]) -> Vec<Claim> {
        weights.iter().map(|weight| Claim { weight: *weight, cap: None }).collect()
    }

    #[test]
    fn shares_add_up_and_the_largest_fractions_lost_get_the_rest() {
        assert_eq!(pro_rata(400, &free(&[1; 6])), Ok(vec![67, 67, 67, 67, 66, 66]));
        // 10 over 1 : 2 : 3 is 1.67, 3.33, 5.
        assert_eq!(pro_rata(10, &free(&[1, 2, 3])), Ok(vec![2, 3, 5]));
        assert_eq!(pro_rata(1, &free(&[1, 1])), Ok(vec![1, 0]));
        assert_eq!(pro_rata(5, &free(&[0, 1])), Ok(vec![0, 5]));
        assert_eq!(
            (pro_rata(5, &free(&[0])), pro_rata(5, &[]), pro_rata(0, &free(&[1]))),
            (Ok(vec![0]), Ok(vec![]), Ok(vec![0]))
        );
    }

    #[test]
    fn what_a_capped_claim_leaves_goes_to_the_others() {
        let claims =
            [Claim { weight: 1, cap: Some(10) }, Claim { weight: 1, cap: None }, Claim { weight: 2, cap: Some(60) }];
        assert_eq!(pro_rata(100, &claims), Ok(vec![10, 30, 60]));
        assert_eq!(pro_rata(200, &claims), Ok(vec![10, 130, 60]));
        let all = [Claim { weight: 1, cap: Some(3) }, Claim { weight: 9, cap: Some(-1) }];
        assert_eq!(pro_rata(10, &all), Ok(vec![3, 0]));
        // 1.5 each: the one that may have one only must not be rounded up.
        let odd = [Claim { weight: 1, cap: Some(1) }, Claim { weight: 1, cap: None }];
        assert_eq!(pro_rata(3, &odd), Ok(vec![1, 2]));
    }

    #[test]
    fn products_beyond_128_bits_lose_nothing() {
        let huge = 10_i128.pow(28);
        assert_eq!(pro_rata(huge, &free(&[huge, huge, huge])).unwrap().iter().sum::<i128>(), huge);
        assert_eq!(pro_rata(7, &free(&[i128::MAX, 1])), Err(NumberError::Overflow));
    }

    #[test]
    fn one_after_another_up_to_the_caps() {
        let claims =
            [Claim { weight: 1, cap: Some(30) }, Claim { weight: 0, cap: None }, Claim { weight: 1, cap: None }];
        assert_eq!(in_order(100, &claims), vec![30, 0, 70]);
        assert_eq!(in_order(20, &claims), vec![20, 0, 0]);
    }

    fn claims() -> impl Strategy<Value = Vec<Claim>> {
        let cap = prop_oneof![Just(None), (0_i128..200).prop_map(Some)];
        let weight = prop_oneof![0_i128..5, 0_i128..10_i128.pow(28)];
        prop::collection::vec((weight, cap).prop_map(|(weight, cap)| Claim { weight, cap }), 0..12)
    }

    fn room(claims: &[Claim]) -> i128 {
        claims.iter().filter(|c| c.weight > 0).map(|c| c.cap.unwrap_or(1_000_000)).sum()
    }

    proptest! {
        #[test]
        fn the_sum_is_exact_and_no_cap_is_passed(total in 0_i128..1_000, claims in claims()) {
            for shares in [pro_rata(total, &claims).unwrap(), in_order(total, &claims)] {
                prop_assert_eq!(shares.len(), claims.len());
                prop_assert_eq!(shares.iter().sum::<i128>(), total.min(room(&claims)));
                for (share, claim) in shares.iter().zip(&claims) {
                    prop_assert!(*share >= 0 && (claim.weight > 0 || *share == 0));
                    prop_assert!(claim.cap.is_none_or(|cap| *share <= cap));
                }
            }
        }

        // The quota rule: without caps nobody is a whole lot away from the exact share.
        #[test]
        fn without_caps_nobody_is_a_lot_off(total in 0_i128..100_000, weights in prop::collection::vec(1_i128..1_000_000, 1..10)) {
            let all: i128 = weights.iter().sum();
            for (share, weight) in pro_rata(total, &free(&weights)).unwrap().into_iter().zip(weights) {
                prop_assert!((share * all - total * weight).abs() < all);
            }
        }

        #[test]
        fn a_larger_weight_never_gets_less(total in 0_i128..1_000, mut weights in prop::collection::vec(1_i128..1_000, 2..8)) {
            weights.sort_unstable_by(|a, b| b.cmp(a));
            let shares = pro_rata(total, &free(&weights)).unwrap();
            prop_assert!(shares.windows(2).all(|pair| pair[0] >= pair[1]), "{:?}", shares);
        }
    }
}
