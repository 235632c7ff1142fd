//! Exact numbers: text, JSON, `Decimal`, lots, ticks and averages.
#![allow(clippy::unwrap_used, reason = "a helper of a test fails the test")]

use fillstream_domain::*;
use proptest::prelude::*;
use rust_decimal::Decimal;

fn px(text: &str) -> Price {
    text.parse().unwrap()
}
fn qty(text: &str) -> Quantity {
    text.parse().unwrap()
}
fn money(text: &str) -> Money {
    text.parse().unwrap()
}

#[test]
fn text_has_as_few_digits_as_it_needs() {
    for (text, shown) in [
        ("0", "0"),
        ("-0", "0"),
        ("007.50", "7.5"),
        ("100", "100"),
        ("-0.00000001", "-0.00000001"),
        ("1E-8", "0.00000001"),
        ("1.2e3", "1200"),
        ("5e+2", "500"),
        ("1.000000000000000000000000000000000000000000000000", "1"),
        ("9999999999.99999999", "9999999999.99999999"),
        ("-9999999999.99999999", "-9999999999.99999999"),
    ] {
        assert_eq!(text.parse::<Price>().map(|px| px.to_string()), Ok(shown.to_owned()), "{text}");
    }
    assert_eq!(format!("{:>8}|{:<6}|", px("-1.5"), px("2")), "    -1.5|2     |");
    assert_eq!(format!("{:?}", px("1.5")), "Price(1.5)");
}

#[test]
fn text_that_is_no_such_number_is_refused_with_its_cause() {
    let malformed = NumberError::Malformed { name: "Price" };
    for text in
        ["", "-", ".", "1.", ".5", "+1", "--1", "1,5", " 1", "1 ", "NaN", "inf", "1e", "1e1.5", "0x1", "١", "1e99999"]
    {
        assert_eq!(text.parse::<Price>(), Err(malformed), "{text:?}");
    }
    let lost = NumberError::LostDigits { name: "Price" };
    for text in ["0.000000001", "1e-9", "0.00000000000000000000000000000000000000000000001", "1e-32000"] {
        assert_eq!(text.parse::<Price>(), Err(lost), "{text}");
    }
    let range = NumberError::OutOfRange { name: "Price" };
    for text in ["10000000000", "-10000000000", "1e10", "1e32000", "99999999999999999999999999999999999999999999"] {
        assert_eq!(text.parse::<Price>(), Err(range), "{text}");
    }
    assert_eq!("-1".parse::<Quantity>(), Err(NumberError::Negative { name: "Quantity" }));
    assert_eq!("0e32000".parse::<Price>(), Ok(Price::ZERO));
}

#[test]
fn json_takes_text_integers_and_floats_and_gives_text() {
    for (json, value) in [("\"0.1\"", "0.1"), ("0.1", "0.1"), ("197", "197"), ("1e-7", "0.0000001"), ("-3", "-3")] {
        assert_eq!(serde_json::from_str::<Price>(json).unwrap(), px(value), "{json}");
    }
    assert_eq!(serde_json::to_string(&px("152.28")).unwrap(), "\"152.28\"");
    for json in ["1e-9", "null", "true", "[]", "\"NaN\"", "1e300"] {
        assert!(serde_json::from_str::<Price>(json).is_err(), "{json}");
    }
    assert!(serde_json::from_str::<Quantity>("-1").is_err());
}

#[test]
fn decimal_goes_in_and_out_exactly_or_not_at_all() {
    assert_eq!(Price::try_from(Decimal::new(15_228, 2)), Ok(px("152.28")));
    assert_eq!(Price::try_from(Decimal::new(1, 9)), Err(NumberError::LostDigits { name: "Price" }));
    assert_eq!(Price::try_from(Decimal::new(10, 9)), Ok(px("0.00000001")));
    assert_eq!(Price::try_from(Decimal::MAX), Err(NumberError::OutOfRange { name: "Price" }));
    assert_eq!(Quantity::try_from(Decimal::NEGATIVE_ONE), Err(NumberError::Negative { name: "Quantity" }));
    assert_eq!(Decimal::try_from(Quantity::MAX).unwrap().to_string(), "99999999999999999999.99999999");
}

#[test]
fn the_ends_of_the_range_hold() {
    assert_eq!(Money::MAX.checked_add(Money::SMALLEST_STEP), Err(NumberError::OutOfRange { name: "Money" }));
    assert_eq!(Money::MIN.checked_sub(Money::SMALLEST_STEP), Err(NumberError::OutOfRange { name: "Money" }));
    assert_eq!(Quantity::ZERO.checked_sub(Quantity::SMALLEST_STEP), Err(NumberError::Negative { name: "Quantity" }));
    assert_eq!(-Money::MAX, Money::MIN);
    assert_eq!(Money::from_unscaled(i128::MIN), Err(NumberError::OutOfRange { name: "Money" }));
    assert_eq!(Price::from_int(i64::MAX), Err(NumberError::OutOfRange { name: "Price" }));
    assert_eq!(
        Price::MAX.notional_rounded(Quantity::MAX, Rounding::HalfEven),
        Err(NumberError::OutOfRange { name: "Money" })
    );
}

#[test]
fn price_times_quantity_is_exact_or_rounded_by_name() {
    assert_eq!(px("152.28").notional_exact(qty("197")), Ok(money("29999.16")));
    let (tiny, half) = (px("0.00000001"), qty("0.5"));
    assert_eq!(tiny.notional_exact(half), Err(NumberError::LostDigits { name: "Money" }));
    assert_eq!(tiny.notional_rounded(half, Rounding::HalfEven), Ok(Money::ZERO));
    assert_eq!(px("0.00000003").notional_rounded(half, Rounding::HalfEven), Ok(money("0.00000002")));
    assert_eq!(tiny.notional_rounded(half, Rounding::Ceiling), Ok(money("0.00000001")));
    assert_eq!(px("-0.00000001").notional_rounded(half, Rounding::Floor), Ok(money("-0.00000001")));
    // 10^36 and more in between.
    let wide = px("9999999999").notional_exact(qty("9999999999"));
    assert_eq!(wide, Ok(money("99999999980000000001")));
}

#[test]
fn shares_of_400_over_six_accounts() {
    let parts = split_even(qty("400"), 6, Quantity::ONE).unwrap();
    assert_eq!(parts, ["67", "67", "67", "67", "66", "66"].map(qty));
}

#[test]
fn published_slices() {
    assert_eq!(split_even(qty("1.2"), 3, qty("0.1")).unwrap(), ["0.4"; 3].map(qty));
    assert_eq!(split_even(qty("1.0"), 3, qty("0.1")).unwrap(), ["0.4", "0.3", "0.3"].map(qty));
    assert_eq!(split_even(qty("2"), 3, qty("1")).unwrap(), ["1", "1"].map(qty));
    assert_eq!(split_even(qty("0"), 3, qty("1")).unwrap(), []);
    assert_eq!(split_even(qty("1"), 0, qty("1")), Err(NumberError::NotPositive { name: "number of parts" }));
    assert_eq!(split_even(qty("1"), 1, qty("0")), Err(NumberError::NotPositive { name: "lot" }));
    assert_eq!(split_even(qty("1.05"), 2, qty("0.1")), Err(NumberError::NotWholeLots { name: "Quantity" }));
}

#[test]
fn lots_and_ticks() {
    assert_eq!(qty("197.9").floor_to_lot(qty("10")), Ok(qty("190")));
    assert_eq!(qty("1").floor_to_lot(Quantity::ZERO), Err(NumberError::NotPositive { name: "lot" }));
    assert!(qty("0.3").is_whole_lots(qty("0.1")) && !qty("0.35").is_whole_lots(qty("0.1")));
    assert!(!qty("1").is_whole_lots(Quantity::ZERO));
    let tick = px("0.05");
    assert_eq!(px("10.07").round_down_to_tick(tick), Ok(px("10.05")));
    assert_eq!(px("10.07").round_up_to_tick(tick), Ok(px("10.1")));
    assert_eq!(px("10.05").round_up_to_tick(tick), Ok(px("10.05")));
    assert_eq!(px("-10.07").round_down_to_tick(tick), Ok(px("-10.1")));
    assert_eq!(px("1").round_to_tick(px("-1"), Rounding::Floor), Err(NumberError::NotPositive { name: "tick" }));
}

#[test]
fn basis_points() {
    // 36.00 of 30,000 is 12 bps.
    assert_eq!(money("36").bps_of(money("30000"), Rounding::HalfEven).unwrap().to_string(), "12");
    assert_eq!(px("101").bps_from(px("100"), Rounding::HalfEven).unwrap().to_string(), "100");
    assert_eq!(px("100").shifted_by("-25".parse().unwrap(), Rounding::HalfEven), Ok(px("99.75")));
    assert_eq!(money("30000").times_bps("12".parse().unwrap(), Rounding::HalfEven), Ok(money("36")));
    assert_eq!("0.0019".parse::<Ratio>().unwrap().to_bps().unwrap().to_string(), "19");
    assert_eq!(money("1").bps_of(Money::ZERO, Rounding::HalfEven), Err(NumberError::DivisionByZero));
}

#[test]
fn cash_is_booked_half_even_to_the_minor_unit() {
    for (amount, currency, booked) in [
        ("0.125", "USD", "0.12"),
        ("0.135", "USD", "0.14"),
        ("-0.125", "USD", "-0.12"),
        ("0.12500001", "USD", "0.13"),
        ("1000.5", "JPY", "1000"),
        ("1.0005", "KWD", "1"),
        ("0.00000001", "BTC", "0.00000001"),
        ("0.00000001", "USDT", "0.00000001"),
    ] {
        let notional = Notional { amount: money(amount), currency: currency.parse().unwrap() };
        assert_eq!(notional.booked().unwrap().amount, money(booked), "{amount} {currency}");
    }
}

#[test]
fn two_currencies_do_not_add_up() {
    let usd = Notional { amount: Money::ONE, currency: Currency::USD };
    let eur = Notional { amount: Money::ONE, currency: Currency::EUR };
    assert_eq!(usd.checked_add(eur), Err(NumberError::CurrencyMismatch));
    assert_eq!(usd.checked_add(usd).unwrap().amount, money("2"));
    for bad in ["usd", "US", "ABCDEFGHIJK", "U D", "€UR"] {
        assert!(bad.parse::<Currency>().is_err(), "{bad}");
    }
    assert_eq!("1INCH".parse::<Currency>().unwrap().as_str(), "1INCH");
    assert_eq!(serde_json::from_str::<Currency>("\"USDT\"").unwrap().to_string(), "USDT");
}

#[test]
fn the_average_price_is_divided_once() {
    let sum = PriceQuantitySum::ZERO.add(px("10"), qty("1")).unwrap().add(px("11"), qty("2")).unwrap();
    assert_eq!(sum.avg(Rounding::HalfEven).unwrap().unwrap().to_string(), "10.666666666667");
    assert_eq!(sum.avg_as_price(Rounding::TowardsZero).unwrap(), Some(px("10.66666666")));
    assert_eq!(sum.notional(Rounding::HalfEven), Ok(money("32")));
    assert_eq!(PriceQuantitySum::ZERO.avg(Rounding::HalfEven), Ok(None));
    assert_eq!(sum.remove(px("10"), qty("4")), Err(NumberError::Negative { name: "Quantity" }));
    let stored = PriceQuantitySum::from_turnover(sum.turnover_exact().unwrap(), sum.quantity());
    assert_eq!(stored, Ok(sum));
    let fine = PriceQuantitySum::ZERO.add(px("0.00000001"), qty("0.00000001")).unwrap();
    assert_eq!(fine.turnover_exact(), Err(NumberError::LostDigits { name: "Turnover" }));
    let large = PriceQuantitySum::ZERO.add(Price::MAX, Quantity::MAX);
    assert_eq!(large, Err(NumberError::Overflow));
}

#[test]
fn the_mid_keeps_its_ninth_digit() {
    let mid = MidPrice::of(px("1.00000001"), px("1.00000002"));
    assert_eq!(mid.avg_price().unwrap().to_string(), "1.000000015");
    assert_eq!(mid.price(Rounding::HalfEven), Ok(px("1.00000002")));
    assert_eq!(mid.price(Rounding::Floor), Ok(px("1.00000001")));
    assert_eq!(MidPrice::of(px("99"), px("101")).bps_to(px("101"), Rounding::HalfEven).unwrap().to_string(), "100");
    // Crossed quotes are kept.
    assert_eq!(MidPrice::of(px("101"), px("99")), MidPrice::of(px("99"), px("101")));
}

#[test]
fn the_time_weighted_mid_is_the_area_over_the_time() {
    let start = MidTime::ZERO.accrued(MidPrice::of(px("5"), px("6")), 7).unwrap();
    let end = start.accrued(MidPrice::of(px("10"), px("11")), 1).unwrap();
    let end = end.accrued(MidPrice::of(px("20"), px("21")), 3).unwrap();
    assert_eq!(end.mean_since(start, 4, Rounding::HalfEven).unwrap().to_string(), "18");
    assert_eq!(end.mean_since(start, 0, Rounding::HalfEven), Err(NumberError::DivisionByZero));
    assert!(start.accrued(MidPrice::of(px("1"), px("1")), -1).is_err());
}

#[test]
fn turnover_gives_the_vwap() {
    let prints =
        [("100.01", "3"), ("100.02", "1")].map(|(p, q)| Turnover::of(px(p), qty(q), Rounding::HalfEven).unwrap());
    let sum = Turnover::sum(prints).unwrap();
    assert_eq!(sum.average(qty("4"), Rounding::HalfEven).unwrap().to_string(), "100.0125");
    assert_eq!(sum.to_money(Rounding::HalfEven), Ok(money("400.05")));
}

#[test]
fn average_prices_give_costs() {
    let paid: AvgPrice = "40.05".parse().unwrap();
    let arrival = AvgPrice::from(px("40.04"));
    assert_eq!(paid.checked_sub(arrival).unwrap().notional_rounded(qty("700"), Rounding::HalfEven), Ok(money("7")));
    assert_eq!(paid.bps_from(AvgPrice::from(px("40")), Rounding::HalfEven).unwrap().to_string(), "12.5");
    assert_eq!(AvgPrice::from(Price::MAX).to_price(Rounding::HalfEven), Ok(Price::MAX));
    assert_eq!(AvgPrice::from(Price::MIN).to_price(Rounding::HalfEven), Ok(Price::MIN));
}

fn any_price() -> impl Strategy<Value = Price> {
    (-10_i128.pow(18) + 1..10_i128.pow(18)).prop_map(|units| Price::from_unscaled(units).unwrap())
}
fn any_quantity() -> impl Strategy<Value = Quantity> {
    (0..10_i128.pow(28)).prop_map(|units| Quantity::from_unscaled(units).unwrap())
}

proptest! {
    #[test]
    fn text_json_and_decimal_round_trip(value in any_price(), quantity in any_quantity()) {
        prop_assert_eq!(value.to_string().parse::<Price>(), Ok(value));
        prop_assert_eq!(Price::try_from(Decimal::try_from(value).unwrap()), Ok(value));
        prop_assert_eq!(serde_json::from_str::<Quantity>(&serde_json::to_string(&quantity).unwrap()).unwrap(), quantity);
        prop_assert_eq!(value.to_string(), Decimal::try_from(value).unwrap().normalize().to_string());
    }

    #[test]
    fn garbage_is_an_error_not_a_panic(text in "[-+0-9.eE ]{0,40}") {
        if let Ok(value) = text.parse::<Price>() {
            prop_assert!(value <= Price::MAX && value >= Price::MIN);
        }
    }

    #[test]
    fn order_of_texts_of_one_length_is_order_of_values(a in 0_u32..1_000_000, b in 0_u32..1_000_000) {
        let value = |n: u32| px(&format!("{}.{:03}", n / 1000, n % 1000));
        prop_assert_eq!(value(a).cmp(&value(b)), a.cmp(&b));
    }

    #[test]
    fn a_split_is_exact_even_and_in_whole_lots(lots in 0_i128..10_000, lot in 1_i128..10_000_000_000, n in 1_u32..200) {
        let lot = Quantity::from_unscaled(lot).unwrap();
        let total = Quantity::from_unscaled(lots * lot.unscaled()).unwrap();
        let parts = split_even(total, n, lot).unwrap();
        prop_assert_eq!(Quantity::sum(parts.iter().copied()), Ok(total));
        prop_assert_eq!(i128::try_from(parts.len()).unwrap(), lots.min(i128::from(n)));
        prop_assert!(parts.iter().all(|part| part.is_whole_lots(lot) && *part >= lot));
        prop_assert!(parts.windows(2).all(|pair| pair[0] >= pair[1]));
        if let (Some(first), Some(last)) = (parts.first(), parts.last()) {
            prop_assert!(first.checked_sub(*last).unwrap() <= lot);
        }
    }

    #[test]
    fn half_even_is_within_half_a_step_and_between_floor_and_ceiling(p in any_price(), q in 0_i128..10_i128.pow(16)) {
        let q = Quantity::from_unscaled(q).unwrap();
        let floor = p.notional_rounded(q, Rounding::Floor).unwrap();
        let ceiling = p.notional_rounded(q, Rounding::Ceiling).unwrap();
        let even = p.notional_rounded(q, Rounding::HalfEven).unwrap();
        prop_assert!(floor <= even && even <= ceiling);
        prop_assert_eq!(p.notional_exact(q).ok(), (floor == ceiling).then_some(floor));
        let exact = p.unscaled() * q.unscaled();
        prop_assert!((even.unscaled() * 100_000_000 - exact).abs() <= 50_000_000);
        prop_assert!(ceiling.unscaled() - floor.unscaled() <= 1);
    }

    #[test]
    fn an_average_lies_between_its_prices(fills in prop::collection::vec((1_i128..10_i128.pow(14), 1_i128..10_i128.pow(14)), 1..20)) {
        let fills: Vec<_> = fills.into_iter()
            .map(|(p, q)| (Price::from_unscaled(p).unwrap(), Quantity::from_unscaled(q).unwrap())).collect();
        let sum = fills.iter().try_fold(PriceQuantitySum::ZERO, |sum, (p, q)| sum.add(*p, *q)).unwrap();
        let avg = sum.avg(Rounding::HalfEven).unwrap().unwrap();
        let lowest = fills.iter().map(|(p, _)| AvgPrice::from(*p)).min().unwrap();
        let highest = fills.iter().map(|(p, _)| AvgPrice::from(*p)).max().unwrap();
        prop_assert!(lowest <= avg && avg <= highest);
        let emptied = fills.iter().try_fold(sum, |sum, (p, q)| sum.remove(*p, *q)).unwrap();
        prop_assert_eq!(emptied, PriceQuantitySum::ZERO);
    }
}
