//! Limits over several portfolios: what their owner leased, and what risk took of it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use fillstream_schemas::execution::{LimitGrant, LimitRequest, RiskCheck, ValidatedOrder};
use fillstream_schemas::reference::{Instrument, WideLimit, WideScope};
use fillstream_schemas::types::AssetClass;
use sha2::{Digest, Sha256};

use crate::facts::{Facts, Rec};
use crate::num::text;
use crate::report::{Check, Exam};

pub(crate) const REQUESTS: &str = "execution.limit-requests.v1";
pub(crate) const GRANTS: &str = "execution.limit-grants.v1";
pub(crate) const WIDE_LIMITS: &str = "reference.wide-limits.v1";
const OWNER: &str = "limit-owner";

/// Partition and offset of a record.
type Place = (i32, i64);

/// Id of the owner's answer to a request: the hash that the first id out of a record is, from the request's lineage.
pub(crate) fn answer_id(lineage: &[u8]) -> String {
    let mut hash = Sha256::new();
    for part in [b"out".as_slice(), lineage, OWNER.as_bytes(), &0_u32.to_be_bytes()] {
        hash.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        hash.update(part);
    }
    hash.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

/// Whether a limit covers an instrument: an equity of unknown sector may be of any, an unknown scope covers everything.
pub(crate) fn covers(limit: &WideLimit, instrument: &Instrument) -> bool {
    let id = limit.scope_id.as_str();
    match limit.scope {
        WideScope::Firm | WideScope::Other => true,
        WideScope::Sector => {
            let unknown = instrument.sector.is_none() && instrument.asset_class == AssetClass::Equity;
            unknown || instrument.sector.as_deref() == Some(id)
        }
        WideScope::AssetClass => instrument.asset_class.as_str() == id,
        WideScope::Instrument => instrument.instrument_id == id,
    }
}

/// What a verdict says of limits over several portfolios: limit, and the check's figures.
pub(crate) fn claims(verdict: &ValidatedOrder) -> impl Iterator<Item = (&str, &RiskCheck)> {
    verdict.validation_results.iter().filter_map(|check| Some((check.scope.strip_prefix("limit/")?, check)))
}

/// The requests of a limit are one partition; each answer is named after the request that it answers, and says when. A
/// portfolio's requests are met as they stand there, those of several in the order of their answers (of one moment: as the
/// sums say). So the whole history of each limit is recomputed, and every prefix of it is held against the limit. A request
/// has one answer at most, and one where it lacks a grant or returns something; an answer belongs to a request, and carries
/// its counts on without a gap: what was returned, and what was granted before with all that is wanted or nothing of it.
/// What is leased after a grant, over all portfolios, is what the answer says, and not more than the limit, as a record
/// says that is not older than that of the answer before. (A limit that was lowered may leave more leased: then nothing more
/// is granted.) What a verdict says may be used is not more than what was granted to its portfolio until then, less what
/// that had returned; and a limit that risk has seen stands in each later approval that it covers.
///
/// What a portfolio said after everything else of a run had happened, as when a lease ends, may have no answer yet.
///
/// Requests and grants are kept for 90 days. Where the broker has dropped the beginning, a portfolio's counts begin with the
/// first answer that is left, as it says them.
pub(crate) fn leases_stay_under_their_limit(facts: &Facts) -> Check {
    let mut exam = Exam::new("leases_stay_under_their_limit");
    let answers = answers(facts, &mut exam);
    let mut requests: Vec<_> = facts.requests.iter().collect();
    requests.sort_by_key(|rec| (rec.partition, rec.offset));
    let mut limits: BTreeMap<&str, (bool, Asking<'_>)> = BTreeMap::new();
    for rec in requests {
        exam.saw();
        let request = &rec.value.content;
        let is_late = || begins_late(facts, REQUESTS, Some(rec.partition));
        let (_, asking) = limits.entry(&request.limit_id).or_insert_with(|| (is_late(), Asking::new()));
        let answer = answers.get(&(rec.partition, rec.offset)).copied();
        asking.entry(&request.portfolio_id).or_default().push_back((request, answer));
    }
    for (id, (is_late, mut asking)) in limits {
        // What stands behind a portfolio's last answer may be answered yet: leases end, and are returned, after all else.
        for of_portfolio in asking.values_mut() {
            let on_its_way = |request: &LimitRequest| facts.under_way || request.timestamp.micros() > facts.end_at();
            while of_portfolio.pop_back_if(|(request, answer)| answer.is_none() && on_its_way(request)).is_some() {}
        }
        let mut leased = Leased::of(facts, id, is_late);
        while let Some((request, answer)) = leased.next(&mut asking) {
            leased.take(request, answer, &mut exam);
        }
    }
    verdicts(facts, &mut exam);
    exam.done()
}

/// Requests about a limit with their answers, by portfolio, in order.
type Asking<'f> = BTreeMap<&'f str, VecDeque<(&'f LimitRequest, Option<&'f LimitGrant>)>>;

/// Whether the broker has dropped records from the beginning.
fn begins_late(facts: &Facts, topic: &str, partition: Option<i32>) -> bool {
    let held = facts.topics.get(topic).into_iter().flat_map(|extent| &extent.partitions);
    held.filter(|(of, _)| partition.is_none_or(|only| only == **of)).any(|(_, held)| held.low > 0)
}

/// Answers by the places of their requests.
fn answers<'f>(facts: &'f Facts, exam: &mut Exam) -> BTreeMap<Place, &'f LimitGrant> {
    let mut asked: BTreeMap<String, Place> = BTreeMap::new();
    for rec in &facts.requests {
        let id = rec.value.lineage.as_deref().map(answer_id);
        exam.require(id.is_some(), || format!("the request at {} names no lineage", rec.at()));
        asked.extend(id.map(|id| (id, (rec.partition, rec.offset))));
    }
    let is_late = begins_late(facts, REQUESTS, None);
    let mut answers = BTreeMap::new();
    for rec in &facts.grants {
        match asked.get(&rec.value.event_id) {
            Some(place) => {
                let before = answers.insert(*place, &rec.value);
                exam.require(before.is_none(), || format!("the grant at {} answers a second time", rec.at()));
            }
            None => exam.require(is_late, || format!("the grant at {} answers no request", rec.at())),
        }
    }
    answers
}

/// What a portfolio was ever granted, and has ever returned.
#[derive(Clone, Copy, Debug, Default)]
struct Account {
    granted: i128,
    returned: i128,
}

/// A limit while its requests are answered.
struct Leased<'f> {
    /// Its records, as they were written; older ones may be gone where the topic is compacted.
    records: Vec<&'f WideLimit>,
    compacted: bool,
    /// The record that the last answer stood on, or one before it.
    in_force: usize,
    /// The beginning is gone.
    is_late: bool,
    total: i128,
    accounts: BTreeMap<&'f str, Account>,
}

impl<'f> Leased<'f> {
    fn of(facts: &'f Facts, id: &str, is_late: bool) -> Self {
        let mut records: Vec<&Rec<WideLimit>> =
            facts.wide_limits.iter().filter(|rec| rec.value.limit_id == id).collect();
        records.sort_by_key(|rec| (rec.partition, rec.offset));
        Self {
            records: records.into_iter().map(|rec| &rec.value).collect(),
            compacted: facts.topics.get(WIDE_LIMITS).is_some_and(|extent| extent.compacted),
            in_force: 0,
            is_late,
            total: 0,
            accounts: BTreeMap::new(),
        }
    }

    /// The request that the owner met next: one without an answer, which changes nothing; else the one that was answered
    /// first, of one moment one whose answer follows from what is leased by now.
    fn next(&self, asking: &mut Asking<'f>) -> Option<(&'f LimitRequest, Option<&'f LimitGrant>)> {
        let next = asking
            .iter()
            .filter_map(|(portfolio, of)| Some((*portfolio, of.front()?.1)))
            .min_by_key(|(portfolio, answer)| {
                answer.map(|said| {
                    let before = self.accounts.get(portfolio).copied().unwrap_or_default();
                    let held = said.granted.unscaled() - said.returned.unscaled();
                    let more = held - (before.granted - before.returned);
                    // One that changes nothing fits before and after: the sum tells where.
                    (said.timestamp, self.total + more != said.leased.unscaled(), more.abs())
                })
            })
            .map(|(portfolio, _)| portfolio)?;
        asking.get_mut(next)?.pop_front()
    }

    fn take(&mut self, request: &'f LimitRequest, answer: Option<&LimitGrant>, exam: &mut Exam) {
        let what = || format!("limit {}, {} at {}", request.limit_id, request.portfolio_id, request.timestamp);
        if self.is_late && !self.accounts.contains_key(request.portfolio_id.as_str()) {
            if let Some(said) = answer {
                let counts = Account { granted: said.granted.unscaled(), returned: said.returned.unscaled() };
                self.accounts.insert(&request.portfolio_id, counts);
                self.total = said.leased.unscaled();
            }
            return;
        }
        let account = self.accounts.entry(&request.portfolio_id).or_default();
        let (seen, given_back) = (request.granted_seen.unscaled(), request.returned.unscaled());
        exam.require(seen <= account.granted && given_back <= account.granted, || {
            format!("{}: knows of or returns more than the {} granted", what(), text(account.granted))
        });
        let lacks = seen < account.granted;
        let frees = (given_back - account.returned).max(0);
        account.returned += frees;
        self.total -= frees;
        let Some(said) = answer else {
            return exam.require(!lacks && frees == 0, || format!("{}: has no answer", what()));
        };
        let more = said.granted.unscaled() - account.granted;
        let whole = if lacks { 0 } else { request.wanted.unscaled() };
        exam.require(more == 0 || (more > 0 && more == whole), || {
            format!("{}: granted {} where {} were due or nothing", what(), text(more), text(whole))
        });
        account.granted = said.granted.unscaled();
        self.total += more;
        let same = (&said.limit_id, &said.portfolio_id, &said.order_id)
            == (&request.limit_id, &request.portfolio_id, &request.order_id);
        exam.require(same, || format!("{}: the answer is about something else", what()));
        exam.require(said.returned.unscaled() == account.returned, || {
            format!("{}: {} returned, the answer says {}", what(), text(account.returned), said.returned)
        });
        let total = self.total;
        exam.require(said.leased.unscaled() == total, || {
            format!("{}: {} leased, the answer says {}", what(), text(total), said.leased)
        });
        exam.require(more == 0 || total <= said.max_gross_value.unscaled(), || {
            format!("{}: {} leased over the limit {}", what(), text(total), said.max_gross_value)
        });
        exam.require(self.names_limit(said), || {
            format!("{}: no record of the limit says {} in version {}", what(), said.max_gross_value, said.version)
        });
    }

    /// Whether an answer stands on a record of the limit that is not older than the one before; zero: on none.
    fn names_limit(&mut self, said: &LimitGrant) -> bool {
        let is_it = |record: &&WideLimit| {
            (record.version, record.max_gross_value, &record.currency)
                == (said.version, said.max_gross_value, &said.currency)
        };
        let found = self.records.iter().skip(self.in_force).position(is_it);
        self.in_force += found.unwrap_or_default();
        let dropped = || self.compacted && self.records.iter().all(|record| record.version > said.version);
        found.is_some() || said.max_gross_value.unscaled() == 0 || dropped()
    }
}

/// Counts of a limit and portfolio, each with the time at which it was said.
type Said<'f> = BTreeMap<(&'f str, &'f str), Vec<(i64, i128)>>;

fn verdicts(facts: &Facts, exam: &mut Exam) {
    let (mut granted, mut returned): (Said<'_>, Said<'_>) = (BTreeMap::new(), BTreeMap::new());
    for grant in facts.grants.iter().map(|rec| &rec.value) {
        let of = granted.entry((&grant.limit_id, &grant.portfolio_id)).or_default();
        of.push((grant.timestamp.micros(), grant.granted.unscaled()));
    }
    for request in facts.requests.iter().map(|rec| &rec.value.content) {
        let of = returned.entry((&request.limit_id, &request.portfolio_id)).or_default();
        of.push((request.timestamp.micros(), request.returned.unscaled()));
    }
    let most = |said: &Said<'_>, of: (&str, &str), until: i64| {
        let counts = said.get(&of).into_iter().flatten().filter(|(at, _)| *at < until);
        counts.map(|(_, count)| *count).max()
    };
    let is_late = begins_late(facts, GRANTS, None);
    let mut in_order: Vec<_> = facts.verdicts.iter().collect();
    in_order.sort_by_key(|rec| (rec.partition, rec.offset));
    let mut known: BTreeSet<(i32, &str)> = BTreeSet::new();
    for rec in in_order {
        let (verdict, at) = (&rec.value, rec.value.timestamp.micros());
        for (limit, claim) in claims(verdict) {
            exam.saw();
            known.insert((rec.partition, limit));
            let of = (limit, verdict.portfolio_id.as_str());
            // Risk and its portfolio's requests have one clock; a grant is met after it was written, by another.
            let met = at.saturating_add(facts.lateness_us()).saturating_add(1);
            let (got, gone) = (most(&granted, of, met), most(&returned, of, at));
            let held = got.unwrap_or_default() - gone.unwrap_or_default();
            let usable = claim.limit.map_or(0, |usable| usable.unscaled());
            exam.require(usable <= held.max(0) || (is_late && got.is_none()), || {
                let id = &verdict.order_id;
                format!("order {id}: {} of limit {limit} may be used, {} are leased", text(usable), text(held))
            });
        }
        if verdict.is_approved {
            exam.saw();
            named(facts, verdict, known.iter().filter(|(of, _)| *of == rec.partition).map(|(_, limit)| *limit), exam);
        }
    }
}

/// An approval names every limit that covers it of those that risk has known in its partition: tables do not go back.
fn named<'f>(facts: &Facts, verdict: &ValidatedOrder, known: impl Iterator<Item = &'f str>, exam: &mut Exam) {
    let deleted = facts.topics.get(WIDE_LIMITS).into_iter().flat_map(|extent| extent.partitions.values());
    if deleted.flat_map(|held| &held.tombstones).next().is_some() {
        return;
    }
    let Some(instrument) = facts.instrument(&verdict.instrument_id) else { return };
    for limit in known {
        let mut records = facts.wide_limits.iter().map(|rec| &rec.value).filter(|record| record.limit_id == limit);
        let is_covered = records.clone().next().is_some() && records.all(|record| covers(record, instrument));
        exam.require(!is_covered || claims(verdict).any(|(named, _)| named == limit), || {
            format!("order {} is approved without a word about limit {limit}", verdict.order_id)
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::{Extent, TopicExtent};
    use crate::sample::{at, clean, num};

    fn found(change: impl FnOnce(&mut Facts)) -> u64 {
        let mut facts = clean();
        change(&mut facts);
        leases_stay_under_their_limit(&facts).violations
    }

    fn claim(facts: &mut Facts) -> &mut RiskCheck {
        facts.verdicts[0].value.validation_results.last_mut().unwrap()
    }

    #[test]
    fn the_id_of_an_answer_is_the_published_hash() {
        // sha256 of "out", sixteen bytes of 1, "limit-owner" and four of 0, each with its length before it.
        assert_eq!(answer_id(&[1; 16]), "5599304987302605bbff7f65f87954e0");
    }

    #[test]
    fn a_lease_over_its_limit_is_found_and_one_under_a_lowered_limit_is_not() {
        assert_eq!(found(|_| {}), 0);
        let limited = |most: &'static str| {
            found(move |f| {
                f.wide_limits[0].value.max_gross_value = num(most);
                f.grants.iter_mut().for_each(|rec| rec.value.max_gross_value = num(most));
            })
        };
        assert_eq!((limited("19201"), limited("19200.99")), (0, 1));
        // The last two answers grant nothing: lowered below what is leased, nobody does wrong.
        let lowered = |by: usize| {
            found(move |f| {
                let mut second = f.wide_limits[0].clone();
                (second.offset, second.value.version, second.value.max_gross_value) = (1, 2, num("1"));
                f.wide_limits.push(second);
                for rec in f.grants.iter_mut().skip(by) {
                    (rec.value.version, rec.value.max_gross_value) = (2, num("1"));
                }
            })
        };
        assert_eq!((lowered(2), lowered(1)), (0, 1));
    }

    #[test]
    fn a_limit_that_no_record_says_or_that_goes_back_is_found() {
        assert_eq!(found(|f| f.wide_limits[0].value.max_gross_value = num("30000")), 4);
        assert_eq!(found(|f| f.wide_limits.clear()), 4);
        let back = |f: &mut Facts| {
            let mut second = f.wide_limits[0].clone();
            (second.offset, second.value.version) = (1, 2);
            f.wide_limits.push(second);
            f.grants[1].value.version = 2;
        };
        assert_eq!(found(back), 2, "both answers after it stand on the older");
        // The older record may have been dropped.
        let dropped = |compacted: bool| {
            found(move |f| {
                f.wide_limits[0].value.version = 2;
                f.topics.insert(WIDE_LIMITS.into(), TopicExtent { compacted, ..TopicExtent::default() });
            })
        };
        assert_eq!((dropped(true), dropped(false)), (0, 4));
    }

    #[test]
    fn answers_that_are_missing_repeated_or_of_nothing_are_found() {
        assert_eq!(found(|f| drop(f.grants.remove(2))), 1, "a return without answer");
        assert_eq!(found(|f| f.grants.push(f.grants[1].clone())), 1);
        assert_eq!(found(|f| f.grants[3].value.event_id = "?".into()), 2, "of nothing, and missing");
        assert_eq!(found(|f| f.requests[4].value.lineage = None), 3);
        let last = |under_way: bool| {
            found(move |f| {
                f.grants.pop();
                f.under_way = under_way;
            })
        };
        assert_eq!((last(true), last(false)), (0, 1), "it may come");
        // Returned when everything else was over.
        let end = clean().end_at();
        let late = |time: i64| {
            found(move |f| {
                f.grants.pop();
                f.requests[4].value.content.timestamp = at(time);
            })
        };
        assert_eq!((late(end), late(end + 1)), (1, 0));
    }

    #[test]
    fn counts_with_a_gap_or_of_another_sum_are_found() {
        assert_eq!(found(|f| f.grants[3].value.leased = num("15202")), 1);
        assert_eq!(found(|f| f.grants[3].value.returned = num("3999")), 1);
        assert_eq!(found(|f| f.grants[3].value.order_id = Some("O1".into())), 1);
        // More than was wanted, part of it, and again what it had not seen.
        assert!(found(|f| f.grants[1].value.granted = num("9001")) >= 1);
        assert!(found(|f| f.grants[1].value.granted = num("8999")) >= 1);
        assert!(found(|f| f.grants[3].value.granted = num("18000")) >= 1);
        assert!(found(|f| f.requests[3].value.content.returned = num("9001")) >= 1);
        assert!(found(|f| f.requests[2].value.content.granted_seen = num("9001")) >= 1);
        // The owner counted only what it granted itself a moment ago.
        assert!(found(|f| f.grants[1].value.leased = num("9000")) >= 1);
    }

    #[test]
    fn answers_of_one_moment_are_put_in_the_order_of_their_sums() {
        let at_once = |f: &mut Facts| {
            // P2's first request stands before P1's, and is answered after it, at the same time.
            f.requests.swap(0, 1);
            for (n, rec) in (0..).zip(&mut f.requests) {
                rec.offset = n;
            }
            f.grants[1].value.timestamp = f.grants[0].value.timestamp;
        };
        assert_eq!(found(at_once), 0);
        assert_eq!(found(|f| f.grants.iter_mut().for_each(|rec| rec.value.timestamp = at(9_000_000))), 0);
        // An answer that changes nothing stands where its sum is, before or after one that does.
        let repeated = |leased: &'static str| {
            found(move |f| {
                let (mut asks, mut said) = (f.requests[4].clone(), f.grants[3].clone());
                (asks.offset, asks.value.lineage) = (5, Some(vec![9; 16]));
                asks.value.content.portfolio_id = "P1".into();
                asks.value.content.granted_seen = num("10201");
                asks.value.content.wanted = num("100");
                said.offset = 4;
                said.value.event_id = answer_id(&[9; 16]);
                said.value.portfolio_id = "P1".into();
                (said.value.granted, said.value.returned) = (num("10301"), num("0"));
                said.value.leased = num("15301");
                f.requests.push(asks);
                f.grants.push(said);
                f.grants[3].value.leased = num(leased);
            })
        };
        assert_eq!((repeated("15201"), repeated("15301"), repeated("15302")), (0, 0, 1));
        // Answered later, what was there before counts.
        assert!(found(|f| f.grants[0].value.timestamp = at(9_000_002)) > 0);
    }

    #[test]
    fn a_verdict_that_uses_what_was_not_leased_is_found() {
        assert_eq!(found(|f| claim(f).limit = Some(num("10201.01"))), 1);
        assert_eq!(found(|f| claim(f).scope = "limit/ANOTHER".into()), 1);
        // Granted after the verdict; returned before it.
        let verdict = clean().verdicts[0].value.timestamp.micros();
        let granted = |time: i64| found(move |f| f.grants[0].value.timestamp = at(time));
        assert_eq!(granted(verdict + 1), granted(verdict) + 1);
        let returns = |time: i64| {
            found(move |f| {
                f.requests[0].value.content.timestamp = at(time);
                f.requests[0].value.content.returned = num("1");
            })
        };
        assert_eq!(returns(verdict - 1), returns(verdict) + 1);
    }

    #[test]
    fn an_approval_that_forgets_a_known_limit_is_found() {
        let forgets = |instrument: &'static str, deleted: bool| {
            found(move |f| {
                let mut second = f.verdicts[0].clone();
                second.offset = 9;
                second.value.instrument_id = instrument.into();
                second.value.validation_results.pop();
                f.verdicts.push(second);
                f.wide_limits[0].value.scope = WideScope::Instrument;
                f.wide_limits[0].value.scope_id = "ACME".into();
                let held = Extent { tombstones: deleted.then_some(1).into_iter().collect(), ..Extent::default() };
                let partitions = BTreeMap::from([(0, held)]);
                f.topics.insert(WIDE_LIMITS.into(), TopicExtent { partitions, compacted: true });
            })
        };
        assert_eq!((forgets("ACME", false), forgets("OTHER", false), forgets("ACME", true)), (1, 0, 0));
    }

    #[test]
    fn what_the_broker_dropped_is_taken_as_it_is_said() {
        let late = |low: i64| {
            found(move |f| {
                f.requests.drain(..2);
                f.grants.remove(0);
                for topic in [REQUESTS, GRANTS] {
                    let partitions = BTreeMap::from([(0, Extent { low, ..Extent::default() })]);
                    f.topics.insert(topic.into(), TopicExtent { partitions, compacted: false });
                }
            })
        };
        assert_eq!(late(2), 0);
        assert!(late(0) > 1);
    }

    #[test]
    fn scopes_cover_what_they_say() {
        let limit = |scope, id: &str| WideLimit { scope, scope_id: id.into(), ..WideLimit::default() };
        let of = |sector: Option<&str>, class| Instrument {
            instrument_id: "ACME".into(),
            sector: sector.map(str::to_owned),
            asset_class: class,
            ..Instrument::default()
        };
        let (tech, unknown, pair) =
            (of(Some("TECH"), AssetClass::Equity), of(None, AssetClass::Equity), of(None, AssetClass::Fx));
        for (limit, covered) in [
            (limit(WideScope::Firm, "*"), [true, true, true]),
            (limit(WideScope::Other, "?"), [true, true, true]),
            (limit(WideScope::Sector, "TECH"), [true, true, false]),
            (limit(WideScope::Sector, "FINANCE"), [false, true, false]),
            (limit(WideScope::AssetClass, "FX"), [false, false, true]),
            (limit(WideScope::Instrument, "ACME"), [true, true, true]),
            (limit(WideScope::Instrument, "BETA"), [false, false, false]),
        ] {
            assert_eq!([&tech, &unknown, &pair].map(|i| covers(&limit, i)), covered, "{limit:?}");
        }
    }
}
