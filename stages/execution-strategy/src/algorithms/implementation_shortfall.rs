//! IMPLEMENTATION_SHORTFALL: the trajectory of Almgren and Chriss, urgency being risk aversion.

use fillstream_domain::{NumberError, Ratio, Rounding, mul_div_i128};
use fillstream_models::almgren_chriss::{Calibration, Model, ModelError};
use fillstream_reference::Quote;

use crate::view::View;

/// What the model knows of an instrument now; `None` where its volume or volatility is not known.
pub(crate) fn calibration(
    view: &View<'_>,
    quote: &Quote,
    sigma: Option<Ratio>,
) -> Result<Option<Calibration>, NumberError> {
    let instrument = view.instrument();
    let (Some(adv), Some(daily_sigma)) = (instrument.and_then(|i| i.adv), sigma) else { return Ok(None) };
    Ok(Some(Calibration {
        price: quote.mid().price(Rounding::HalfEven)?,
        spread: quote.ask.checked_sub(quote.bid)?,
        adv,
        daily_sigma,
        day_us: view.day_us(),
    }))
}

/// Risk aversion for a unit of the quote currency, from one for a unit of the reporting currency. `rate` is what a unit of the
/// quote currency is worth.
///
/// # Errors
/// Out of range.
pub(crate) fn in_quote_currency(lambda: Ratio, rate: Ratio) -> Result<Ratio, NumberError> {
    mul_div_i128(lambda.unscaled(), rate.unscaled(), Ratio::ONE.unscaled(), Rounding::HalfEven)
        .and_then(Ratio::from_unscaled)
}

/// Share of the order released by each of `slots` slots: slot k trades over the interval that it begins.
///
/// # Errors
/// What the model cannot tell.
pub(crate) fn targets(
    calibration: &Calibration,
    horizon_us: i64,
    slots: i32,
    lambda: Ratio,
) -> Result<Vec<Ratio>, ModelError> {
    Model::new(calibration)?.trajectory(horizon_us, slots, lambda)
}
