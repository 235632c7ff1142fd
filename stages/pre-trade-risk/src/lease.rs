//! Limits wider than a portfolio, by leased headroom: one owner a limit, and a holder a partition that never approves
//! beyond what it was leased.
//!
//! Each side counts up only: the owner what it ever granted to a holder, the holder what it ever returned. A message says
//! the whole count, so that one that is late, repeated, reordered or lost can only make a side know less than it could:
//!
//! ```text
//! used <= granted seen - returned <= granted - returned seen, and the sum of these over the holders <= limit
//! ```
//!
//! Time frees nothing at the owner. A lease that is over may not be used for more and is returned by its holder, whose state
//! and timers outlive its worker; what a holder that cannot be reached has is counted as used until it says otherwise.

use std::collections::{BTreeMap, VecDeque};

use fillstream_domain::{DurationMicros, Money, NumberError, TimestampMicros};

/// What a holder says to the owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Who.
    pub holder: String,
    /// All that it ever returned.
    pub returned: Money,
    /// All that it ever was granted, as far as it knows.
    pub granted_seen: Money,
    /// What it wants beyond that.
    pub wanted: Money,
}

/// What the owner says to a holder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// To whom.
    pub holder: String,
    /// All that it ever was granted.
    pub granted: Money,
    /// From when on it may not use more of it.
    pub expires_at: TimestampMicros,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Account {
    granted: Money,
    returned: Money,
}

/// The owner of a limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimitOwner {
    limit: Money,
    lease_time: DurationMicros,
    accounts: BTreeMap<String, Account>,
}

impl LimitOwner {
    /// A limit of which nothing is leased; leases last for `lease_time`.
    #[must_use]
    pub const fn new(limit: Money, lease_time: DurationMicros) -> Self {
        Self { limit, lease_time, accounts: BTreeMap::new() }
    }

    /// Changes the limit. Nothing is taken away from a holder; below what is leased nothing more is granted.
    pub fn set_limit(&mut self, limit: Money) {
        self.limit = limit;
    }

    /// What holders may use together.
    ///
    /// # Errors
    /// Out of range.
    pub fn leased(&self) -> Result<Money, NumberError> {
        self.accounts
            .values()
            .try_fold(Money::ZERO, |sum, account| sum.checked_add(account.granted.checked_sub(account.returned)?))
    }

    /// Takes a report in and answers it: with all that was asked for, or what is left, or only the count that the holder
    /// has not seen.
    ///
    /// # Errors
    /// Out of range, or the holder returns more than it was granted; nothing is changed then.
    pub fn on_report(&mut self, report: &Report, now: TimestampMicros) -> Result<Option<Grant>, LeaseError> {
        let mut account = self.accounts.get(&report.holder).copied().unwrap_or_default();
        if report.returned > account.granted {
            return Err(LeaseError::ReturnedTooMuch);
        }
        account.returned = account.returned.max(report.returned);
        self.accounts.insert(report.holder.clone(), account);
        let missing = account.granted > report.granted_seen;
        // What it has not seen may be what it wants.
        let more = if missing { Money::ZERO } else { report.wanted.max(Money::ZERO) };
        let more = more.min(self.limit.checked_sub(self.leased()?)?.max(Money::ZERO));
        account.granted = account.granted.checked_add(more)?;
        let expires_at = now.checked_add(self.lease_time).map_err(|_| LeaseError::Time)?;
        self.accounts.insert(report.holder.clone(), account);
        let changed = missing || more.is_positive();
        Ok(changed.then(|| Grant { holder: report.holder.clone(), granted: account.granted, expires_at }))
    }
}

/// Why a message or an amount is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LeaseError {
    /// A holder returns more than it was granted.
    #[error("more is returned than was granted")]
    ReturnedTooMuch,
    /// More is freed than is used.
    #[error("more is freed than is used")]
    FreedTooMuch,
    /// The end of a lease is out of range.
    #[error("the end of the lease is out of range")]
    Time,
    /// A figure is out of range.
    #[error("lease: {0}")]
    Number(#[from] NumberError),
}

/// What becomes of an order that needs headroom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Take {
    /// It has it.
    Taken,
    /// It waits for a grant, at the longest until then.
    Waits {
        /// When it is refused.
        until: TimestampMicros,
    },
}

/// An order that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// Order.
    pub order_id: String,
    /// Headroom that it needs.
    pub amount: Money,
    /// When it is refused as LIMIT_HEADROOM_UNAVAILABLE.
    pub until: TimestampMicros,
}

/// What became of orders that waited, in the order in which they came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settled {
    /// They have their headroom.
    pub taken: Vec<Waiting>,
    /// They waited too long: LIMIT_HEADROOM_UNAVAILABLE.
    pub unavailable: Vec<Waiting>,
}

/// A partition's part of a limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseHolder {
    holder: String,
    longest_wait: DurationMicros,
    granted: Money,
    returned: Money,
    used: Money,
    expires_at: Option<TimestampMicros>,
    waiting: VecDeque<Waiting>,
}

impl LeaseHolder {
    /// A holder of nothing, whose orders wait at most for `longest_wait`.
    #[must_use]
    pub const fn new(holder: String, longest_wait: DurationMicros) -> Self {
        let (granted, returned, used) = (Money::ZERO, Money::ZERO, Money::ZERO);
        Self { holder, longest_wait, granted, returned, used, expires_at: None, waiting: VecDeque::new() }
    }

    /// Headroom that approved orders hold.
    #[must_use]
    pub const fn used(&self) -> Money {
        self.used
    }

    /// Orders that wait, the first to come first.
    pub fn waiting(&self) -> impl Iterator<Item = &Waiting> {
        self.waiting.iter()
    }

    /// Headroom that is leased and not used.
    ///
    /// # Errors
    /// Out of range.
    pub fn unused(&self) -> Result<Money, NumberError> {
        self.granted.checked_sub(self.returned)?.checked_sub(self.used)
    }

    /// Takes headroom for an order, or lets it wait. Who comes later does not go before one that waits.
    ///
    /// # Errors
    /// Out of range.
    pub fn take(&mut self, order_id: &str, amount: Money, now: TimestampMicros) -> Result<Take, LeaseError> {
        if self.waiting.is_empty() && self.fits(amount, now)? {
            self.used = self.used.checked_add(amount)?;
            return Ok(Take::Taken);
        }
        let until = now.checked_add(self.longest_wait).map_err(|_| LeaseError::Time)?;
        self.waiting.push_back(Waiting { order_id: order_id.to_owned(), amount, until });
        Ok(Take::Waits { until })
    }

    /// Gives headroom of an order that ended, or of a part of it, back to the lease.
    ///
    /// # Errors
    /// More than is used.
    pub fn free(&mut self, amount: Money) -> Result<(), LeaseError> {
        let used = self.used.checked_sub(amount)?;
        if used.is_negative() {
            return Err(LeaseError::FreedTooMuch);
        }
        self.used = used;
        Ok(())
    }

    /// Takes a grant in. One that is older than what is known changes nothing.
    pub fn on_grant(&mut self, grant: &Grant) {
        if grant.holder == self.holder && grant.granted >= self.granted {
            self.granted = grant.granted;
            self.expires_at = self.expires_at.max(Some(grant.expires_at));
        }
    }

    /// Settles the orders that waited, as far as it can be told now: on a grant, on what was freed, and when time passed.
    ///
    /// # Errors
    /// Out of range.
    pub fn settle(&mut self, now: TimestampMicros) -> Result<Settled, LeaseError> {
        let mut settled = Settled::default();
        while let Some(first) = self.waiting.front() {
            let (late, fits) = (first.until <= now, self.fits(first.amount, now)?);
            if !late && !fits {
                break;
            }
            let Some(first) = self.waiting.pop_front() else { break };
            if late {
                settled.unavailable.push(first);
            } else {
                self.used = self.used.checked_add(first.amount)?;
                settled.taken.push(first);
            }
        }
        Ok(settled)
    }

    /// Returns what is unused if the lease is over, and says what there is and what is wanted for the orders that wait.
    ///
    /// # Errors
    /// Out of range.
    pub fn report(&mut self, now: TimestampMicros) -> Result<Report, LeaseError> {
        if self.is_over(now) {
            self.returned = self.returned.checked_add(self.unused()?)?;
            self.expires_at = None;
        }
        let needed = self.waiting.iter().try_fold(Money::ZERO, |sum, waiting| sum.checked_add(waiting.amount))?;
        let wanted = needed.checked_sub(self.unused()?)?.max(Money::ZERO);
        Ok(Report { holder: self.holder.clone(), returned: self.returned, granted_seen: self.granted, wanted })
    }

    fn fits(&self, amount: Money, now: TimestampMicros) -> Result<bool, NumberError> {
        Ok(!self.is_over(now) && amount <= self.unused()?)
    }

    // A lease that was never granted is over: there is nothing of it.
    fn is_over(&self, now: TimestampMicros) -> bool {
        self.expires_at.is_none_or(|expires_at| expires_at <= now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn money(whole: i64) -> Money {
        Money::from_int(whole).unwrap()
    }

    fn at(seconds: i64) -> TimestampMicros {
        TimestampMicros::from_micros(seconds * 1_000_000)
    }

    fn seconds(seconds: i64) -> DurationMicros {
        DurationMicros::from_seconds(seconds).unwrap()
    }

    fn pair() -> (LimitOwner, LeaseHolder) {
        (LimitOwner::new(money(100), seconds(60)), LeaseHolder::new("P0".to_owned(), seconds(5)))
    }

    /// A report and its answer, both delivered.
    fn talk(owner: &mut LimitOwner, holder: &mut LeaseHolder, now: TimestampMicros) {
        let report = holder.report(now).unwrap();
        if let Some(grant) = owner.on_report(&report, now).unwrap() {
            holder.on_grant(&grant);
        }
    }

    #[test]
    fn rule_13_an_order_waits_for_a_grant_and_what_is_unused_returns() {
        let (mut owner, mut holder) = pair();
        assert_eq!(holder.take("O1", money(60), at(0)).unwrap(), Take::Waits { until: at(5) });
        talk(&mut owner, &mut holder, at(1));
        assert_eq!(holder.settle(at(1)).unwrap().taken.len(), 1);
        assert_eq!((holder.used(), owner.leased().unwrap()), (money(60), money(60)));
        holder.free(money(40)).unwrap();
        assert_eq!(holder.take("O2", money(30), at(2)).unwrap(), Take::Taken, "freed headroom is used again");
        // The lease is over: the ten that are left return, what is used stays.
        assert_eq!(holder.take("O3", money(5), at(61)).unwrap(), Take::Waits { until: at(66) });
        talk(&mut owner, &mut holder, at(61));
        assert_eq!(holder.settle(at(61)).unwrap().taken.len(), 1);
        assert_eq!((holder.used(), owner.leased().unwrap()), (money(55), money(55)));
    }

    #[test]
    fn rule_13_an_exhausted_lease_waits_at_most_its_time() {
        let (mut owner, mut holder) = pair();
        holder.take("O1", money(101), at(0)).unwrap();
        holder.take("O2", money(1), at(3)).unwrap();
        talk(&mut owner, &mut holder, at(3));
        assert_eq!(holder.settle(at(3)).unwrap(), Settled::default(), "who came later waits behind");
        let settled = holder.settle(at(5)).unwrap();
        assert_eq!(settled.unavailable.iter().map(|w| w.order_id.as_str()).collect::<Vec<_>>(), ["O1"]);
        assert_eq!(settled.taken.iter().map(|w| w.order_id.as_str()).collect::<Vec<_>>(), ["O2"]);
    }

    #[test]
    fn rule_13_a_holder_that_is_silent_keeps_what_it_may_have_used() {
        let (mut owner, mut holder) = pair();
        holder.take("O1", money(80), at(0)).unwrap();
        let report = holder.report(at(0)).unwrap();
        // Granted, but the answer is lost, and its worker with it; long after the end of the lease another one asks.
        let granted = owner.on_report(&report, at(0)).unwrap().unwrap();
        assert_eq!(owner.on_report(&report, at(0)).unwrap().unwrap(), granted, "said again, not granted again");
        let mut other = LeaseHolder::new("P1".to_owned(), seconds(5));
        other.take("O2", money(80), at(1_000)).unwrap();
        talk(&mut owner, &mut other, at(1_000));
        assert_eq!((other.unused().unwrap(), owner.leased().unwrap()), (money(20), money(100)));
        // The first one's state is restored elsewhere: it learns of its grant, uses none of it, returns it.
        assert_eq!(holder.settle(at(1_000)).unwrap().unavailable.len(), 1);
        talk(&mut owner, &mut holder, at(1_000));
        assert_eq!(holder.unused().unwrap(), money(80));
        talk(&mut owner, &mut holder, at(1_060));
        assert_eq!(owner.leased().unwrap(), money(20));
    }

    #[test]
    fn a_lowered_limit_grants_nothing_until_there_is_room_again() {
        let (mut owner, mut holder) = pair();
        holder.take("O1", money(80), at(0)).unwrap();
        talk(&mut owner, &mut holder, at(0));
        holder.settle(at(0)).unwrap();
        owner.set_limit(money(50));
        holder.take("O2", money(1), at(1)).unwrap();
        talk(&mut owner, &mut holder, at(1));
        assert_eq!(holder.settle(at(1)).unwrap().taken.len(), 0);
        assert_eq!(holder.used(), money(80));
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let (mut owner, mut holder) = pair();
        assert_eq!(holder.free(money(1)), Err(LeaseError::FreedTooMuch));
        let report = Report { returned: money(1), ..holder.report(at(0)).unwrap() };
        assert_eq!(owner.on_report(&report, at(0)), Err(LeaseError::ReturnedTooMuch));
        assert_eq!(owner.leased().unwrap(), Money::ZERO);
    }

    #[derive(Clone, Copy, Debug)]
    enum Step {
        Take {
            holder: usize,
            amount: i64,
        },
        Free {
            holder: usize,
            part: i64,
        },
        Report {
            holder: usize,
        },
        /// Delivers the n-th message on its way, to either side; with `keep` it stays there and comes again.
        Deliver {
            n: usize,
            keep: bool,
        },
        Lose {
            n: usize,
        },
        /// A worker dies: what it did since the last commit never happened, nor did the messages it wrote since.
        Crash {
            holder: usize,
        },
        Commit {
            holder: usize,
        },
        Pass {
            seconds: i64,
        },
        Limit {
            limit: i64,
        },
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            4 => (0_usize..3, 1_i64..60).prop_map(|(holder, amount)| Step::Take { holder, amount }),
            2 => (0_usize..3, 0_i64..=100).prop_map(|(holder, part)| Step::Free { holder, part }),
            4 => (0_usize..3).prop_map(|holder| Step::Report { holder }),
            8 => (any::<usize>(), prop::bool::weighted(0.3)).prop_map(|(n, keep)| Step::Deliver { n, keep }),
            1 => any::<usize>().prop_map(|n| Step::Lose { n }),
            1 => (0_usize..3).prop_map(|holder| Step::Crash { holder }),
            3 => (0_usize..3).prop_map(|holder| Step::Commit { holder }),
            2 => (0_i64..40).prop_map(|seconds| Step::Pass { seconds }),
            1 => (0_i64..150).prop_map(|limit| Step::Limit { limit }),
        ];
        prop::collection::vec(step, 1..150)
    }

    #[derive(Clone, Debug)]
    enum Message {
        Report(Report),
        Grant(Grant),
    }

    /// A partition: its state, the one of its last commit, and what it wrote since.
    struct Partition {
        live: LeaseHolder,
        committed: LeaseHolder,
        unsent: Vec<Report>,
    }

    /// Limit, owner, partitions and what is on its way between them.
    struct System {
        owner: LimitOwner,
        partitions: Vec<Partition>,
        way: Vec<Message>,
        now: i64,
        limit: Money,
    }

    impl System {
        fn new() -> Self {
            let holder = |n: usize| LeaseHolder::new(format!("P{n}"), seconds(30));
            let partition = |n| Partition { live: holder(n), committed: holder(n), unsent: Vec::new() };
            let owner = LimitOwner::new(money(100), seconds(60));
            Self { owner, partitions: (0..3).map(partition).collect(), way: Vec::new(), now: 0, limit: money(100) }
        }

        fn deliver(&mut self, message: Message) {
            match message {
                Message::Report(report) => {
                    let grant = self.owner.on_report(&report, at(self.now)).unwrap();
                    self.way.extend(grant.map(Message::Grant));
                }
                Message::Grant(grant) => {
                    for partition in &mut self.partitions {
                        partition.live.on_grant(&grant);
                        partition.live.settle(at(self.now)).unwrap();
                    }
                }
            }
        }

        fn apply(&mut self, step: Step) {
            let now = at(self.now);
            match step {
                Step::Take { holder, amount } => {
                    let order = format!("O{}", self.now);
                    self.partitions[holder].live.take(&order, money(amount), now).unwrap();
                }
                Step::Free { holder, part } => {
                    let live = &mut self.partitions[holder].live;
                    let used = live.used().unscaled() / Money::ONE.unscaled();
                    let amount = i64::try_from(used * i128::from(part) / 100).unwrap();
                    live.free(money(amount)).unwrap();
                }
                Step::Report { holder } => {
                    let partition = &mut self.partitions[holder];
                    let report = partition.live.report(now).unwrap();
                    partition.unsent.push(report);
                }
                Step::Commit { holder } => {
                    let partition = &mut self.partitions[holder];
                    partition.committed = partition.live.clone();
                    self.way.extend(partition.unsent.drain(..).map(Message::Report));
                }
                Step::Crash { holder } => {
                    let partition = &mut self.partitions[holder];
                    partition.live = partition.committed.clone();
                    partition.unsent.clear();
                }
                Step::Deliver { n, keep } => {
                    let Some(n) = n.checked_rem(self.way.len()) else { return };
                    let message = if keep { self.way[n].clone() } else { self.way.remove(n) };
                    self.deliver(message);
                }
                Step::Lose { n } => {
                    if let Some(n) = n.checked_rem(self.way.len()) {
                        self.way.remove(n);
                    }
                }
                Step::Pass { seconds } => self.now += seconds,
                Step::Limit { limit } => {
                    self.limit = money(limit);
                    self.owner.set_limit(self.limit);
                }
            }
        }

        fn used(&self) -> Money {
            Money::sum(self.partitions.iter().map(|p| p.live.used().max(p.committed.used()))).unwrap()
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]

        #[test]
        fn rule_13_holders_together_never_use_more_than_the_limit(steps in steps()) {
            let mut system = System::new();
            for step in steps {
                let before = system.owner.leased().unwrap();
                system.apply(step);
                let leased = system.owner.leased().unwrap();
                prop_assert!(system.used() <= leased, "{} of {leased}", system.used());
                // The owner never leases beyond the limit; a lowered one only forbids more.
                prop_assert!(leased <= system.limit || leased <= before, "{leased} of {}", system.limit);
            }
            // When all has been said, whoever was silent too, and leases are over, only what is used is leased.
            system.now += 1_000;
            for _ in 0..4 {
                for holder in 0..3 {
                    system.apply(Step::Report { holder });
                    system.apply(Step::Commit { holder });
                }
                while !system.way.is_empty() {
                    system.apply(Step::Deliver { n: 0, keep: false });
                }
                system.partitions.iter_mut().for_each(|p| { p.live.settle(at(system.now)).unwrap(); });
                system.now += 100;
            }
            prop_assert_eq!(system.used(), system.owner.leased().unwrap());
        }
    }
}
