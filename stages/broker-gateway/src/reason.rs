//! Why the gateway did not send.

use std::fmt;

/// Reason code of a report that the gateway itself made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// A control forbids trading in one of the order's scopes.
    Killed,
    /// A control pauses trading in one of the order's scopes.
    Paused,
    /// The controls could not be proven up to date before the send deadline.
    ControlsStale,
    /// The fields are not those that risk approved.
    HashMismatch,
    /// The instruction is for another session.
    WrongSession,
    /// Risk approved it too long ago.
    StaleApproval,
    /// It could not be sent before its deadline.
    SendDeadline,
    /// This gateway cannot replace an order.
    ReplaceNotSupported,
    /// A cancel for an order that was never sent.
    UnknownOrder,
    /// A cancel for an order that has ended.
    OrderClosed,
    /// The broker refused the message; it left no trace there.
    BrokerRefused,
    /// It may or may not have reached a broker that cannot be asked, and must not be sent again.
    SendOutcomeUnknown,
}

impl Reason {
    /// Every code.
    pub const ALL: &'static [Self] = &[
        Self::Killed,
        Self::Paused,
        Self::ControlsStale,
        Self::HashMismatch,
        Self::WrongSession,
        Self::StaleApproval,
        Self::SendDeadline,
        Self::ReplaceNotSupported,
        Self::UnknownOrder,
        Self::OrderClosed,
        Self::BrokerRefused,
        Self::SendOutcomeUnknown,
    ];

    /// The code in reports.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Killed => "KILLED",
            Self::Paused => "PAUSED",
            Self::ControlsStale => "CONTROLS_STALE",
            Self::HashMismatch => "HASH_MISMATCH",
            Self::WrongSession => "WRONG_SESSION",
            Self::StaleApproval => "STALE_APPROVAL",
            Self::SendDeadline => "SEND_DEADLINE",
            Self::ReplaceNotSupported => "REPLACE_NOT_SUPPORTED",
            Self::UnknownOrder => "UNKNOWN_ORDER",
            Self::OrderClosed => "ORDER_CLOSED",
            Self::BrokerRefused => "BROKER_REFUSED",
            Self::SendOutcomeUnknown => "SEND_OUTCOME_UNKNOWN",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

/// A reason with its particulars in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Code.
    pub reason: Reason,
    /// The same in words.
    pub text: String,
}

impl Refusal {
    /// A refusal.
    #[must_use]
    pub fn new(reason: Reason, text: impl Into<String>) -> Self {
        Self { reason, text: text.into() }
    }
}
