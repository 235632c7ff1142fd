//! Owns the limits over several portfolios, and leases their headroom.
//!
//! A limit wider than a portfolio cannot be exact in state keyed by portfolio. Here each limit has one owner, whose state is
//! keyed by the limit; a portfolio's risk never approves beyond what it was leased:
//!
//! ```text
//! used when approved <= granted seen - returned <= granted - returned seen, and the sum of these over portfolios <= limit
//! ```
//!
//! Each side says whole counts that only go up, so that a message that is late or repeated can only make a side know less
//! than it could. Time frees nothing at the owner: a lease that is over may not be used for more, and is returned by the
//! portfolio, whose state and timers outlive its worker. A limit that was lowered below what is leased takes nothing away;
//! nothing more is granted until there is room.
#![forbid(unsafe_code)]
#![deny(clippy::float_arithmetic, clippy::as_conversions, clippy::disallowed_methods, clippy::disallowed_types)]

pub mod config;
pub mod owner;

use fillstream_core::error::Poison;
use fillstream_core::record::Record;
use fillstream_core::stage::{Effects, Stage, Timer};
use fillstream_core::table::TableDecl;
use fillstream_core::{inputs, outputs, stores};
use fillstream_domain::Money;
use fillstream_reference::WideLimits;
use fillstream_schemas::engine::NoTimer;
use fillstream_schemas::execution::{LimitGrant, LimitRequest};
use fillstream_schemas::state::{LeaseAccount, LeaseSum};

pub use config::Config;

inputs! {
    /// What the stage reads.
    pub enum In { Request(LimitRequest) = "execution.limit-requests.v1" }
}

outputs! {
    /// What the stage writes.
    pub enum Out { Grant(LimitGrant) = "execution.limit-grants.v1" }
}

stores! {
    /// What the stage remembers.
    pub struct State {
        /// What each portfolio was granted and returned, by limit and portfolio.
        accounts: LeaseAccount = "accounts",
        /// What is leased, by limit.
        sums: LeaseSum = "sums"
    }
}

/// The limit-owner stage.
pub struct LimitOwner {
    config: Config,
}

impl LimitOwner {
    /// The stage with a valid configuration.
    ///
    /// # Errors
    /// Every fault of the configuration.
    pub fn new(config: Config) -> Result<Self, Vec<String>> {
        let faults = config.validate();
        if faults.is_empty() { Ok(Self { config }) } else { Err(faults) }
    }
}

impl Stage for LimitOwner {
    type In = In;
    type Out = Out;
    type Stores = State;
    type Timer = NoTimer;

    const NAME: &'static str = "limit-owner";
    const DOC: &'static str =
        "leases the headroom of limits over several portfolios, so that together they never pass one";

    fn tables() -> Vec<TableDecl> {
        vec![TableDecl::of::<WideLimits>()]
    }

    fn on_record(&self, record: &Record<In>, state: &mut State, fx: &mut Effects<'_, Self>) -> Result<(), Poison> {
        let In::Request(request) = &record.value;
        let limit = fx.table::<WideLimits>().and_then(|limits| limits.limit(&request.limit_id)).cloned();
        // Where there is no limit, or it was never read, nothing is granted; what is returned is taken all the same.
        let most = limit.as_ref().map_or(Money::ZERO, |limit| limit.max_gross_value);
        let key = format!("{}/{}", request.limit_id, request.portfolio_id);
        let account = state.accounts.get(&key).cloned().unwrap_or_else(|| LeaseAccount {
            limit_id: request.limit_id.clone(),
            portfolio_id: request.portfolio_id.clone(),
            ..LeaseAccount::default()
        });
        let leased = state.sums.get(&request.limit_id).map_or(Money::ZERO, |sum| sum.leased);
        let answer = owner::answer(&account, request, leased, most).map_err(|e| Poison::new("LEASE", e.to_string()))?;
        if answer.account != account {
            state.accounts.put(&key, answer.account.clone());
        }
        if answer.leased != leased {
            state.sums.put(&request.limit_id, LeaseSum { limit_id: request.limit_id.clone(), leased: answer.leased });
        }
        if answer.is_news {
            let expires_at = fx.now().checked_add(self.config.lease());
            let grant = LimitGrant {
                event_id: fx.next_id(),
                timestamp: fx.now(),
                limit_id: request.limit_id.clone(),
                portfolio_id: request.portfolio_id.clone(),
                granted: answer.account.granted,
                returned: answer.account.returned,
                expires_at: expires_at.map_err(|_| Poison::new("TIME", "the end of the lease is out of range"))?,
                leased: answer.leased,
                max_gross_value: most,
                currency: limit.as_ref().map(|limit| limit.currency.clone()).unwrap_or_default(),
                version: limit.as_ref().map_or(0, |limit| limit.version),
                order_id: request.order_id.clone(),
            };
            fx.emit(grant);
        }
        Ok(())
    }

    fn on_timer(&self, _: &Timer<NoTimer>, _: &mut State, _: &mut Effects<'_, Self>) -> Result<(), Poison> {
        Ok(())
    }
}
