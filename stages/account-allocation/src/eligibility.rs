//! Which accounts may take part in an order, and how much each can take.
//!
//! The tests of margin, risk budget, drawdown and positions bind orders that increase exposure only (trading rule 24).
//! A figure that an account record leaves out puts its test out of force for that account.

use fillstream_domain::{Money, NumberError, Price, Quantity, Ratio, Rounding, Side, SignedQuantity, mul_div_i128};
use fillstream_schemas::reference::Account;

use crate::config::{Policy, Rule};
use crate::reason::Exclusion;

/// What is asked of the accounts.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    /// Side.
    pub side: Side,
    /// Quantity of the order.
    pub quantity: Quantity,
    /// Lot of the instrument.
    pub lot: Quantity,
    /// Least quantity of an order in the instrument; what its least notional comes to is included.
    pub minimum: Quantity,
    /// Price at which margin is held, quote currency.
    pub price: Price,
    /// Units of base a quantity of 1 stands for.
    pub multiplier: Quantity,
}

impl Asked {
    /// Whether the order can only reduce exposure: a sale of what is held, a cover of what is short.
    #[must_use]
    pub fn is_reducing(&self) -> bool {
        match self.side {
            Side::Sell | Side::BuyToCover => true,
            Side::Buy | Side::SellShort => false,
        }
    }
}

/// An account with its figures of the moment.
#[derive(Clone, Debug)]
pub struct Standing<'a> {
    /// Its record.
    pub account: &'a Account,
    /// Whether a control forbids it to trade.
    pub is_killed: bool,
    /// Whether a control has it pause.
    pub is_paused: bool,
    /// What it holds of the instrument.
    pub position: SignedQuantity,
    /// What it could sell (or cover) beyond its open orders.
    pub available: Quantity,
    /// Margin available beyond its open orders.
    pub available_margin: Option<Money>,
    /// Loss that it may still make.
    pub risk_budget: Option<Money>,
    /// Loss of the day, as a fraction of equity.
    pub daily_drawdown: Option<Ratio>,
    /// Open positions, those that open orders will open included.
    pub open_positions: Option<i32>,
    /// Whether the order would add to a position that it holds or that its open orders will open.
    pub is_held: bool,
    /// Account currency for one unit of quote currency.
    pub rate: Option<Price>,
}

/// Why an account gets nothing, in a code and in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Excluded {
    /// Code.
    pub code: Exclusion,
    /// The figures.
    pub text: String,
}

impl Excluded {
    pub(crate) fn new(code: Exclusion, text: impl Into<String>) -> Self {
        Self { code, text: text.into() }
    }
}

/// Why an account may not take part at all; the first test that fails, in the order of the codes.
#[must_use]
pub fn exclusion(standing: &Standing<'_>, asked: &Asked, policy: &Policy, is_alone: bool) -> Option<Excluded> {
    if !standing.account.is_active {
        return Some(Excluded::new(Exclusion::AccountInactive, "it is not active"));
    }
    if standing.is_killed && !(asked.is_reducing() && policy.reduce_when_killed) {
        return Some(Excluded::new(Exclusion::Killed, "a control forbids it to trade"));
    }
    if standing.is_paused {
        return Some(Excluded::new(Exclusion::Paused, "a control has it pause"));
    }
    if asked.is_reducing() {
        // Where there is one account, risk has checked its position already.
        let nothing = standing.available.is_zero() && !is_alone;
        return nothing.then(|| {
            Excluded::new(Exclusion::NothingAvailable, format!("position {} less its open orders", standing.position))
        });
    }
    if !is_alone && asked.side == Side::SellShort && standing.position.is_positive() {
        return Some(Excluded::new(Exclusion::LongPosition, format!("it holds {}", standing.position)));
    }
    increasing(standing, policy)
}

fn increasing(standing: &Standing<'_>, policy: &Policy) -> Option<Excluded> {
    if let Some(margin) = standing.available_margin
        && margin < policy.min_available_margin
    {
        let text = format!("available margin {margin} is below {}", policy.min_available_margin);
        return Some(Excluded::new(Exclusion::MarginBelowMinimum, text));
    }
    if let Some(budget) = standing.risk_budget
        && !budget.is_positive()
    {
        return Some(Excluded::new(Exclusion::RiskBudgetExhausted, format!("risk budget {budget} is not above 0")));
    }
    if let Some(drawdown) = standing.daily_drawdown
        && drawdown > policy.max_daily_drawdown
    {
        let text = format!("daily drawdown {drawdown} is above {}", policy.max_daily_drawdown);
        return Some(Excluded::new(Exclusion::DrawdownAboveLimit, text));
    }
    if let Some(open) = standing.open_positions
        && !standing.is_held
        && open >= policy.max_open_positions
    {
        let text = format!("{open} open positions, {} is the most", policy.max_open_positions);
        return Some(Excluded::new(Exclusion::TooManyPositions, text));
    }
    if standing.available_margin.is_some() && standing.rate.is_none() {
        return Some(Excluded::new(Exclusion::NoFxRate, "no fresh rate from the quote currency to the account's"));
    }
    None
}

/// The figure that a rule measures an account by, `None` where it has none above zero.
#[must_use]
pub fn basis(standing: &Standing<'_>, rule: Rule) -> Option<Money> {
    let figure = match rule {
        Rule::Equal | Rule::Priority => Some(Money::ONE),
        Rule::Equity => standing.account.equity,
        Rule::AvailableMargin => standing.available_margin,
        // Nine digits to eight: a billionth is no weight.
        Rule::Ratio => standing.account.allocation_ratio.and_then(|r| Money::from_unscaled(r.unscaled() / 10).ok()),
        Rule::PercentChange => Money::from_unscaled(standing.position.magnitude().unscaled()).ok(),
    };
    figure.filter(|figure| figure.is_positive())
}

/// Lots that the margin of an account pays for; `None`: no cap.
///
/// # Errors
/// The value of the order is out of range.
pub fn margin_cap(standing: &Standing<'_>, asked: &Asked, policy: &Policy) -> Result<Option<i128>, NumberError> {
    let (Some(margin), Some(rate), false) = (standing.available_margin, standing.rate, asked.is_reducing()) else {
        return Ok(None);
    };
    let need =
        value(asked.quantity, asked.price, asked.multiplier, rate)?.share(policy.margin_rate, Rounding::Ceiling)?;
    if !need.is_positive() || margin >= need {
        return Ok(None);
    }
    let units = mul_div_i128(asked.quantity.unscaled(), margin.unscaled().max(0), need.unscaled(), Rounding::Floor)?;
    Ok(Some(units / asked.lot.unscaled().max(1)))
}

/// What a quantity is worth in account currency.
///
/// # Errors
/// Out of range.
pub fn value(quantity: Quantity, price: Price, multiplier: Quantity, rate: Price) -> Result<Money, NumberError> {
    let base = mul_div_i128(quantity.unscaled(), multiplier.unscaled(), Quantity::ONE.unscaled(), Rounding::Ceiling)?;
    let amount = price.abs().notional_rounded(Quantity::from_unscaled(base)?, Rounding::Ceiling)?;
    amount.converted(rate, Rounding::Ceiling)
}

#[cfg(test)]
mod tests {
    use super::*;
    use fillstream_domain::AvroEnum;

    fn num<T: std::str::FromStr>(text: &str) -> T
    where
        T::Err: std::fmt::Debug,
    {
        text.parse().unwrap()
    }

    fn asked(side: Side) -> Asked {
        Asked {
            side,
            quantity: num("100"),
            lot: Quantity::ONE,
            minimum: Quantity::ONE,
            price: num("10"),
            multiplier: Quantity::ONE,
        }
    }

    fn standing(account: &Account) -> Standing<'_> {
        Standing {
            account,
            is_killed: false,
            is_paused: false,
            position: num("50"),
            available: num("50"),
            available_margin: Some(num("1000")),
            risk_budget: Some(num("0.00000001")),
            daily_drawdown: Some(num("0.04")),
            open_positions: Some(2),
            is_held: false,
            rate: Some(Price::ONE),
        }
    }

    fn active() -> Account {
        Account { account_id: "A".into(), is_active: true, ..Account::default() }
    }

    fn code(standing: &Standing<'_>, side: Side) -> Option<Exclusion> {
        exclusion(standing, &asked(side), &Policy::default(), false).map(|excluded| excluded.code)
    }

    #[test]
    fn rule_24_each_threshold_holds_at_its_edge_and_not_beyond() {
        let account = active();
        let at_the_edge = standing(&account);
        assert_eq!(code(&at_the_edge, Side::Buy), None);
        let beyond = [
            (
                Standing { available_margin: Some(num("999.99999999")), ..standing(&account) },
                Exclusion::MarginBelowMinimum,
            ),
            (Standing { risk_budget: Some(Money::ZERO), ..standing(&account) }, Exclusion::RiskBudgetExhausted),
            (
                Standing { daily_drawdown: Some(num("0.040000001")), ..standing(&account) },
                Exclusion::DrawdownAboveLimit,
            ),
            (Standing { open_positions: Some(3), ..standing(&account) }, Exclusion::TooManyPositions),
            (Standing { rate: None, ..standing(&account) }, Exclusion::NoFxRate),
            (Standing { is_killed: true, ..standing(&account) }, Exclusion::Killed),
            (Standing { is_paused: true, ..standing(&account) }, Exclusion::Paused),
        ];
        for (standing, expected) in &beyond {
            assert_eq!(code(standing, Side::Buy), Some(*expected));
            let text = exclusion(standing, &asked(Side::Buy), &Policy::default(), false).unwrap().text;
            assert!(!text.is_empty());
            // What only reduces is bound by none of the figures.
            let stops = matches!(expected, Exclusion::Killed | Exclusion::Paused);
            let reducing = stops.then_some(*expected);
            assert_eq!(code(standing, Side::Sell), reducing, "{}", expected.as_str());
        }
        let closed = Account { is_active: false, ..active() };
        assert_eq!(code(&standing(&closed), Side::Sell), Some(Exclusion::AccountInactive));
    }

    #[test]
    fn rule_24_adding_to_a_position_is_not_a_new_one() {
        let account = active();
        let adding = Standing { open_positions: Some(9), is_held: true, ..standing(&account) };
        assert_eq!(code(&adding, Side::Buy), None);
    }

    #[test]
    fn rule_24_a_figure_that_is_left_out_puts_its_test_out_of_force() {
        let account = active();
        let bare = Standing {
            available_margin: None,
            risk_budget: None,
            daily_drawdown: None,
            open_positions: None,
            rate: None,
            ..standing(&account)
        };
        assert_eq!(code(&bare, Side::Buy), None);
        assert_eq!(margin_cap(&bare, &asked(Side::Buy), &Policy::default()), Ok(None));
    }

    #[test]
    fn rule_24_no_account_is_turned_from_long_to_short() {
        let account = active();
        assert_eq!(code(&standing(&account), Side::SellShort), Some(Exclusion::LongPosition));
        let flat = Standing { position: SignedQuantity::ZERO, available: Quantity::ZERO, ..standing(&account) };
        assert_eq!(code(&flat, Side::SellShort), None);
        assert_eq!(code(&flat, Side::Sell), Some(Exclusion::NothingAvailable));
        assert_eq!(
            exclusion(&flat, &asked(Side::Sell), &Policy::default(), true),
            None,
            "risk has checked the only account"
        );
    }

    #[test]
    fn a_killed_account_reduces_where_the_policy_says_so() {
        let account = active();
        let killed = Standing { is_killed: true, ..standing(&account) };
        let policy = Policy { reduce_when_killed: true, ..Policy::default() };
        assert_eq!(exclusion(&killed, &asked(Side::Sell), &policy, false), None);
        assert!(exclusion(&killed, &asked(Side::Buy), &policy, false).is_some());
    }

    #[test]
    fn margin_pays_for_whole_lots_at_the_margin_rate() {
        let account = active();
        let rich = Standing { available_margin: Some(num("1000")), ..standing(&account) };
        assert_eq!(margin_cap(&rich, &asked(Side::Buy), &Policy::default()), Ok(None));
        let tight = Standing { available_margin: Some(num("999")), ..standing(&account) };
        assert_eq!(margin_cap(&tight, &asked(Side::Buy), &Policy::default()), Ok(Some(99)));
        assert_eq!(margin_cap(&tight, &asked(Side::Sell), &Policy::default()), Ok(None));
        let half = Policy { margin_rate: num("0.5"), ..Policy::default() };
        assert_eq!(margin_cap(&tight, &asked(Side::Buy), &half), Ok(None));
        let lots = Asked { lot: num("10"), ..asked(Side::Buy) };
        assert_eq!(margin_cap(&tight, &lots, &Policy::default()), Ok(Some(9)));
        let dear = Standing { rate: Some(num("2")), ..tight.clone() };
        assert_eq!(margin_cap(&dear, &asked(Side::Buy), &Policy::default()), Ok(Some(49)));
    }

    #[test]
    fn each_rule_has_its_figure_and_none_at_zero() {
        let account = Account { equity: Some(num("7")), allocation_ratio: Some(num("2")), ..active() };
        let standing = standing(&account);
        let figures: Vec<Option<i128>> =
            Rule::ALL.iter().map(|rule| basis(&standing, *rule).map(Money::unscaled)).collect();
        let e8 = 100_000_000;
        assert_eq!(figures, [Some(e8), Some(7 * e8), Some(1_000 * e8), Some(2 * e8), Some(50 * e8), Some(e8)]);
        let bare = active();
        assert_eq!(basis(&Standing { account: &bare, ..standing.clone() }, Rule::Equity), None);
        let flat = Standing { position: SignedQuantity::ZERO, ..standing };
        assert_eq!(basis(&flat, Rule::PercentChange), None);
        assert_eq!(<Rule as AvroEnum>::ALL.len(), figures.len());
    }
}
