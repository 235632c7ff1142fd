//! Checks with their figures: every one runs and reports.

use fillstream_domain::{Money, NumberError, Quantity, SignedQuantity};
use fillstream_schemas::execution::RiskCheck;

/// As many checks as most orders have.
const USUAL_ROWS: usize = 48;

/// Collects the checks of one order.
#[derive(Clone, Debug)]
pub struct Checks {
    rows: Vec<RiskCheck>,
    scope: String,
    part: Option<String>,
    version: i32,
}

/// A figure held against a limit, both in one unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// What was measured.
    pub figure: Money,
    /// What it was held against.
    pub limit: Money,
}

impl Checks {
    /// No checks yet; `scope` is what their limits apply to, `version` that of the limit record.
    #[must_use]
    pub fn new(scope: String) -> Self {
        Self { rows: Vec::with_capacity(USUAL_ROWS), scope, part: None, version: 0 }
    }

    /// Names what the limits apply to from here on.
    pub fn set_scope(&mut self, scope: &str) {
        scope.clone_into(&mut self.scope);
    }

    /// Names the version of the limit record used from here on.
    pub fn set_version(&mut self, version: i32) {
        self.version = version;
    }

    /// Narrows the scope of the checks from here on, as in `sector/TECH`; `None`: no more.
    pub fn about(&mut self, part: Option<String>) {
        self.part = part;
    }

    /// Reports a check without figures and gives back whether it passed.
    pub fn that(&mut self, name: &str, code: &'static str, passed: bool) -> bool {
        self.push(name, code, passed, None, "")
    }

    /// Reports a check with figures and gives back whether it passed.
    pub fn held(&mut self, name: &str, code: &'static str, passed: bool, held: Held, unit: &str) -> bool {
        self.push(name, code, passed, Some(held), unit)
    }

    /// Reports a check whose figure must not be more than its limit.
    pub fn at_most(&mut self, name: &str, code: &'static str, held: Held, unit: &str) -> bool {
        self.push(name, code, held.figure <= held.limit, Some(held), unit)
    }

    /// Reports a fact that no limit stands against, such as a rate used.
    pub fn note(&mut self, name: &str, figure: Money, unit: &str) {
        let row = RiskCheck { figure: Some(figure), ..self.row(name, true, None, unit) };
        self.rows.push(row);
    }

    /// Lets the failed checks of a code pass, on somebody's word: a row of its own says so. Gives whether there were any.
    pub fn waive(&mut self, code: &str, words: &str) -> bool {
        let failed = self.rows.iter_mut().filter(|row| !row.passed && row.code.as_deref() == Some(code));
        let count = failed.map(|row| (row.passed, row.code) = (true, None)).count();
        if count > 0 {
            let row = self.row(&format!("override of {code}: {words}"), true, None, "");
            self.rows.push(row);
        }
        count > 0
    }

    fn push(&mut self, name: &str, code: &'static str, passed: bool, held: Option<Held>, unit: &str) -> bool {
        let row = RiskCheck {
            figure: held.map(|h| h.figure),
            limit: held.map(|h| h.limit),
            ..self.row(name, passed, (!passed).then_some(code), unit)
        };
        self.rows.push(row);
        passed
    }

    fn row(&self, name: &str, passed: bool, code: Option<&str>, unit: &str) -> RiskCheck {
        RiskCheck {
            name: name.to_owned(),
            passed,
            code: code.map(str::to_owned),
            figure: None,
            limit: None,
            unit: unit.to_owned(),
            scope: match &self.part {
                Some(part) => format!("{}/{part}", self.scope),
                None => self.scope.clone(),
            },
            version: self.version,
        }
    }

    /// Whether every check passed.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.rows.iter().all(|row| row.passed)
    }

    /// Codes of the failed checks in check order, each once.
    #[must_use]
    pub fn codes(&self) -> Vec<String> {
        let mut codes: Vec<String> = Vec::new();
        for code in self.rows.iter().filter_map(|row| row.code.as_ref()) {
            if !codes.contains(code) {
                codes.push(code.clone());
            }
        }
        codes
    }

    /// The failed checks in words, with figures.
    #[must_use]
    pub fn text(&self) -> String {
        let failed = self.rows.iter().filter(|row| !row.passed).map(|row| match (row.figure, row.limit) {
            (Some(figure), Some(limit)) => format!("{}: {figure} against {limit} {}", row.name, row.unit),
            (Some(_), None) | (None, _) => format!("{}: {}", row.name, row.code.as_deref().unwrap_or_default()),
        });
        failed.collect::<Vec<_>>().join("; ").trim_end().to_owned()
    }

    /// The checks.
    #[must_use]
    pub fn into_rows(self) -> Vec<RiskCheck> {
        self.rows
    }

    /// The checks so far.
    #[must_use]
    pub fn rows(&self) -> &[RiskCheck] {
        &self.rows
    }
}

/// A quantity as a figure of a check.
///
/// # Errors
/// None: both have the same digits.
pub fn units(quantity: Quantity) -> Result<Money, NumberError> {
    Money::from_unscaled(quantity.unscaled())
}

/// A position as a figure of a check.
///
/// # Errors
/// None: both have the same digits.
pub fn signed_units(position: SignedQuantity) -> Result<Money, NumberError> {
    Money::from_unscaled(position.unscaled())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn money(text: &str) -> Money {
        text.parse().unwrap()
    }

    /// A passed check, two failed ones of one code, and one of another without figures.
    fn some() -> Checks {
        let mut checks = Checks::new("P1".to_owned());
        let held = |figure, limit| Held { figure: money(figure), limit: money(limit) };
        assert!(checks.at_most("least", "LESS", held("1", "1"), "USD"));
        assert!(!checks.at_most("most", "MORE", held("2", "1"), "USD"));
        assert!(!checks.at_most("most again", "MORE", held("3", "1"), ""));
        assert!(!checks.that("open", "CLOSED", false));
        checks
    }

    #[test]
    fn failed_checks_are_told_in_words_with_their_figures() {
        assert_eq!(some().text(), "most: 2 against 1 USD; most again: 3 against 1 ; open: CLOSED");
        assert_eq!(Checks::new("P1".to_owned()).text(), "");
        assert_eq!(some().rows(), some().into_rows());
        assert_eq!(some().rows().iter().map(|row| row.passed).collect::<Vec<_>>(), [true, false, false, false]);
    }

    #[test]
    fn a_waived_code_passes_with_a_row_that_says_on_whose_word_and_no_other_does() {
        let mut checks = some();
        assert!(!checks.waive("LESS", "ann and bob"), "it did not fail");
        assert_eq!(checks.rows(), some().rows());
        assert!(checks.waive("MORE", "ann and bob"));
        let rows: Vec<_> =
            checks.rows().iter().map(|row| (row.name.as_str(), row.passed, row.code.as_deref())).collect();
        let expected = [
            ("least", true, None),
            ("most", true, None),
            ("most again", true, None),
            ("open", false, Some("CLOSED")),
            ("override of MORE: ann and bob", true, None),
        ];
        assert_eq!(rows, expected);
        assert_eq!((checks.passed(), checks.codes()), (false, vec!["CLOSED".to_owned()]));
        assert!(checks.waive("CLOSED", "ann and bob") && checks.passed());
    }
}
