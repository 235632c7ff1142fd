//! Enumerations: aliases of the edge, FIX codes, sides.
#![allow(clippy::unwrap_used, reason = "a helper of a test fails the test")]

use fillstream_domain::*;
use std::collections::BTreeSet;

#[test]
fn the_edge_accepts_the_aliases_of_the_specifications() {
    assert_eq!(Urgency::parse_alias("MEDIUM"), Ok(Urgency::Normal));
    assert_eq!(Urgency::parse_alias("CRITICAL"), Ok(Urgency::Urgent));
    assert_eq!(Priority::parse_alias("MEDIUM"), Ok(Priority::Normal));
    assert_eq!(AssetClass::parse_alias("FOREX"), Ok(AssetClass::Fx));
    assert!("MEDIUM".parse::<Urgency>().is_err());
    assert!(Urgency::parse_alias("urgent").is_err());
}

/// Trading rule 8: strategy name, algorithm and parameters are three things.
#[test]
fn rule_8_adaptive_twap_is_twap_with_adaptation() {
    let adaptive = AlgorithmRequest { algorithm: Algorithm::Twap, adaptive: true };
    assert_eq!(AlgorithmRequest::parse("ADAPTIVE_TWAP"), Ok(adaptive));
    assert_eq!(AlgorithmRequest::parse("TWAP"), Ok(AlgorithmRequest { adaptive: false, ..adaptive }));
    assert!(AlgorithmRequest::parse("ADAPTIVE").is_err() && Algorithm::parse_alias("ADAPTIVE_TWAP").is_err());
}

#[test]
fn urgency_and_priority_are_ordered() {
    assert!(Urgency::ALL.is_sorted() && Priority::ALL.is_sorted());
}

#[test]
fn fix_codes_are_unique_and_known() {
    let codes: String = OrdStatus::ALL.iter().filter_map(|status| status.fix_code()).collect();
    assert_eq!(codes, "A012346789BCE");
    for status in OrdStatus::ALL {
        if let Some(code) = status.fix_code() {
            assert_eq!(OrdStatus::from_fix_code(code), Some(*status));
        }
    }
    assert_eq!((OrdStatus::from_fix_code('5'), OrdStatus::from_fix_code('D')), (None, None));
    let exec: BTreeSet<char> = ExecType::ALL.iter().map(|exec_type| exec_type.fix_code()).collect();
    assert_eq!(exec.into_iter().collect::<String>(), "03456789ABCDEFGHI");
    assert_eq!(ExecType::from_fix_code('F'), Some(ExecType::Trade));
    assert_eq!(ExecType::from_fix_code('1'), None);
}

#[test]
fn sides_have_a_direction() {
    let qty: Quantity = "5".parse().unwrap();
    for (side, buys, code) in
        [(Side::Buy, true, '1'), (Side::Sell, false, '2'), (Side::SellShort, false, '5'), (Side::BuyToCover, true, '1')]
    {
        assert_eq!((side.is_buy(), side.sign() > 0, side.fix_code()), (buys, buys, code));
        assert_eq!(qty.signed(side).is_negative(), !buys);
        assert_eq!((Action::Buy.agrees_with(side), Action::Sell.agrees_with(side)), (buys, !buys));
    }
}

#[test]
fn an_unknown_symbol_is_named_and_cut() {
    let error = Side::parse_alias(&"X".repeat(1000)).unwrap_err();
    assert_eq!((error.name, error.symbol.len()), ("Side", 64));
}
