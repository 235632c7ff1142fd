//! The child's state table, pair by pair.
#![allow(clippy::unwrap_used, reason = "a helper of a test fails the test")]

mod support;

use fillstream_domain::order_state::*;
use fillstream_domain::*;
use support::{event_of, state_in};

/// Columns: the status before. Rows: the event. A cell is the status after; `=` stands for "accepted, nothing
/// changed", `x` for "refused".
const TABLE: &str = "
event               PN   N  PF   F DFD   C  PC  ST   R  SU  CA   E  PR   U
SEND_INTENT         PN   x   x   x   x   x   x   x   x   x   x   x   x   x
PENDING_NEW         PN   =   =   =   =   =   =   =   x   =   =   =   =  PF
NEW                  N   =   =   =   =   =   =   =   x  PF   =   =   =  PF
TRADE               PF  PF  PF   F DFD   C  PC  ST   C  SU  CA   E  PR  PF
CANCELED             C   C   C   x   C   =   C   C   x   C   C   x   C   C
REJECTED             R   R   x   x   x   x   x   x   =   x   x   x   x   x
EXPIRED              E   E   E   x   E   x   E   E   x   E   E   =   E   E
DONE_FOR_DAY       DFD DFD DFD DFD   =   x  PC DFD   x DFD DFD   x  PR DFD
STOPPED             ST  ST  ST   x   x   x  PC   =   x  ST   x   x  PR  ST
SUSPENDED           SU  SU  SU   x   x   x  PC  ST   x   =   x   x  PR  SU
CALCULATED           x  CA  CA  CA DFD  CA  PC  CA   x  CA   =  CA  PR  CA
RESTATED             N   N  PF  PF  PF   x  PC  ST   x  PF  PF   x  PR  PF
CANCEL_REQUESTED    PC  PC  PC   x   x   x  PC  PC   x  PC   x   x  PC   U
PENDING_CANCEL      PC  PC  PC   =   =   =   =  PC   =  PC   =   =  PC  PC
CANCEL_REJECTED      x   x   x   =   =   =  PF   x   =   x   =   =   x   x
REPLACE_REQUESTED    x  PR  PR   x   x   x   x  PR   x  PR   x   x   x   x
PENDING_REPLACE      x   x   x   =   =   =   x   x   =   x   =   =   =   x
REPLACED             x   x   x   x   x   x   x   x   x   x   x   x  PF   x
REPLACE_REJECTED     x   x   x   =   =   =   x   x   =   x   =   =  PF   x
TRADE_CANCEL         x   x  PF  PF DFD   C  PC  ST   x  SU  CA   E  PR   U
TRADE_CORRECT        x   x  PF   F DFD   C  PC  ST   x  SU  CA   E  PR   U
UNKNOWN              U   U   U   x   x   x   U   U   x   U   x   x   U   =
UNKNOWN_RESOLVED     x   x   x   x   x   x   x   x   x   x   x   x   x  PF
";

#[test]
fn every_pair_of_status_and_event() {
    let mut lines = TABLE.lines().filter(|line| !line.trim().is_empty());
    let columns: Vec<OrdStatus> =
        lines.next().unwrap().split_whitespace().skip(1).map(|code| status_of(code).unwrap()).collect();
    assert_eq!(columns.len(), OrdStatus::ALL.len());
    let mut events = Vec::new();
    let mut wrong = Vec::new();
    for line in lines {
        let mut cells = line.split_whitespace();
        let kind: ChildEventKind = cells.next().unwrap().parse().unwrap();
        let cells: Vec<&str> = cells.collect();
        assert_eq!(cells.len(), columns.len(), "{kind}");
        for (from, cell) in columns.iter().zip(cells) {
            let found = cell_of(*from, kind);
            if found != cell {
                wrong.push(format!("{from} + {kind}: {found}, the table says {cell}"));
            }
        }
        events.push(kind);
    }
    assert_eq!(events, ChildEventKind::ALL);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn cell_of(from: OrdStatus, kind: ChildEventKind) -> &'static str {
    let before = state_in(from);
    assert_eq!(before.status(), from);
    match transition(&before, &event_of(kind)) {
        Ok(done) if !done.changed => {
            assert_eq!((done.state, done.to), (before, from));
            "="
        }
        Ok(done) => code_of(done.to),
        Err(error) => {
            assert_eq!((error.from, error.event), (from, kind));
            "x"
        }
    }
}

fn status_of(code: &str) -> Option<OrdStatus> {
    OrdStatus::ALL.iter().copied().find(|status| code_of(*status) == code)
}

fn code_of(status: OrdStatus) -> &'static str {
    match status {
        OrdStatus::PendingNew => "PN",
        OrdStatus::New => "N",
        OrdStatus::PartiallyFilled => "PF",
        OrdStatus::Filled => "F",
        OrdStatus::DoneForDay => "DFD",
        OrdStatus::Canceled => "C",
        OrdStatus::PendingCancel => "PC",
        OrdStatus::Stopped => "ST",
        OrdStatus::Rejected => "R",
        OrdStatus::Suspended => "SU",
        OrdStatus::Calculated => "CA",
        OrdStatus::Expired => "E",
        OrdStatus::PendingReplace => "PR",
        OrdStatus::Unknown => "U",
    }
}
