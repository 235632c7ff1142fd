//! What a portfolio holds in other instruments than the order's, valued once a decision.

use fillstream_domain::{AssetClass, Money, NumberError, Price, Rounding};
use fillstream_schemas::reference::Instrument;

use crate::exposure::{Book, Exposure, Mark};
use crate::facts::{Facts, World};

/// Sums over the other instruments, worst case of open orders included.
#[derive(Clone, Copy, Default)]
pub(crate) struct Others {
    /// Of absolute values, reporting currency.
    pub gross: Money,
    /// Of values if every open buy fills and no sell does, reporting currency, where the net value is limited.
    pub most: Money,
    /// Of values if every open sell fills and no buy does, reporting currency, where the net value is limited.
    pub least: Money,
    /// As `gross`, of the order's sector; an equity of unknown sector could be of this one.
    pub sector: Money,
    /// As `gross`, of the order's asset class.
    pub asset_class: Money,
    /// Cash tied up, account currency.
    pub tied_up: Money,
}

/// Rates of a quote currency.
struct Rates<'a> {
    quote: &'a str,
    account: Price,
    reporting: Price,
}

impl Others {
    /// The sums; `None` if an instrument has no price or rate.
    ///
    /// # Errors
    /// Out of range.
    pub(crate) fn of(
        world: &World<'_>,
        facts: &Facts<'_>,
        exposure: &Exposure<'_>,
    ) -> Result<Option<Self>, NumberError> {
        let mut others = Self::default();
        let mut rates: Vec<Rates<'_>> = Vec::new();
        for (id, book) in exposure.others(&facts.instrument.instrument_id) {
            let instrument = world.data.instrument(id).filter(|instrument| !instrument.inverse);
            let Some(instrument) = instrument else { return Ok(None) };
            let Some(mark) = mark(world, facts, instrument, &mut rates) else { return Ok(None) };
            others.add(facts, instrument, book, &mark)?;
        }
        Ok(Some(others))
    }

    fn add(&mut self, facts: &Facts<'_>, other: &Instrument, book: &Book, mark: &Mark) -> Result<(), NumberError> {
        let gross = book.worst_value(mark)?;
        self.gross = self.gross.checked_add(gross)?;
        if facts.limit.max_net_value.is_some() {
            self.most = self.most.checked_add(book.most_value(mark)?)?;
            self.least = self.least.checked_add(book.least_value(mark)?)?;
        }
        self.tied_up = self.tied_up.checked_add(book.tied_up(mark, facts.margin(other.asset_class))?)?;
        let unknown = other.sector.is_none() && other.asset_class == AssetClass::Equity;
        if unknown || other.sector == facts.instrument.sector {
            self.sector = self.sector.checked_add(gross)?;
        }
        if other.asset_class == facts.instrument.asset_class {
            self.asset_class = self.asset_class.checked_add(gross)?;
        }
        Ok(())
    }
}

fn mark<'a>(
    world: &World<'_>,
    facts: &Facts<'_>,
    instrument: &'a Instrument,
    rates: &mut Vec<Rates<'a>>,
) -> Option<Mark> {
    let quote = world.market.quote_at(&instrument.instrument_id, &instrument.reference_venue, world.now).ok()?;
    let (account_rate, reporting_rate) = match rates.iter().find(|known| known.quote == instrument.quote_currency) {
        Some(known) => (known.account, known.reporting),
        None => {
            let rate = |to| world.rate(&instrument.quote_currency, to, facts.limit).ok().map(|fx| fx.rate);
            let (account, reporting) = (rate(facts.account_currency)?, rate(&facts.limit.currency)?);
            rates.push(Rates { quote: &instrument.quote_currency, account, reporting });
            (account, reporting)
        }
    };
    let price = quote.mid().price(Rounding::Ceiling).ok()?;
    Some(Mark { price, multiplier: instrument.multiplier, account_rate, reporting_rate })
}
