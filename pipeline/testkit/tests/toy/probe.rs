//! A stage that does what the record's id says.

use fillstream_core::error::Poison;
use fillstream_core::record::Record;
use fillstream_core::stage::{Effects, Stage, Timer};
use fillstream_core::{inputs, outputs, stores};

use super::{ChildToy, Toy, us};

inputs! {
    /// Inputs.
    pub(crate) enum ProbeIn { In(Toy) = "in.v1" => "in-forwarded.v1", Forwarded(Toy) = "in-forwarded.v1" }
}
outputs! {
    /// Outputs.
    pub(crate) enum ProbeOut { Out(Toy) = "probe.v1" }
}
stores! {
    /// Sum and count (`n`, `hops`) of what came, by key.
    pub(crate) struct Sums { sums: Toy = "sums" }
}

/// Adds `n` to the sum of the key and emits the sum; then the words of the id: `set@DUE`, `cancel`, `drop`, `move@KEY`,
/// `poison`.
pub(crate) struct Probe;

impl Stage for Probe {
    type In = ProbeIn;
    type Out = ProbeOut;
    type Stores = Sums;
    type Timer = Toy;
    const NAME: &'static str = "probe";
    const DOC: &'static str = "A probe.";

    fn on_record(&self, record: &Record<ProbeIn>, state: &mut Sums, fx: &mut Effects<'_, Self>) -> Result<(), Poison> {
        let (ProbeIn::In(toy) | ProbeIn::Forwarded(toy)) = &record.value;
        let mut sum = state.sums.get(&toy.key).cloned().unwrap_or_else(|| Toy::new("sum", &toy.key, 0, 0));
        (sum.n, sum.hops) = (sum.n + toy.n, sum.hops + 1);
        state.sums.put(&toy.key, sum.clone());
        let mut out = Toy { id: fx.next_id(), at: fx.now(), ..sum };
        for word in toy.id.split(' ') {
            match word.split_once('@').unwrap_or((word, "")) {
                ("set", due) => {
                    let due = due.parse().map_err(|_| Poison::new("DUE", due))?;
                    fx.schedule("timer", us(due), &Toy { id: "fired".into(), ..*toy.clone() });
                }
                ("cancel", _) => fx.cancel("timer"),
                ("drop", _) => drop(state.sums.remove(&toy.key)),
                ("move", key) => out.key = key.to_owned(),
                ("poison", _) => {
                    fx.emit(out);
                    fx.schedule("poisoned", us(0), toy);
                    return Err(Poison::new("ASKED", "the record asks for it"));
                }
                _ => {}
            }
        }
        fx.emit(out);
        Ok(())
    }

    fn on_timer(&self, timer: &Timer<Toy>, state: &mut Sums, fx: &mut Effects<'_, Self>) -> Result<(), Poison> {
        let toy = &timer.payload;
        if toy.n < 0 {
            drop(state.sums.remove(&toy.key));
            return Err(Poison::new("NEGATIVE", "a negative timer"));
        }
        if toy.hops > 0 {
            fx.schedule(&*timer.key, us(fx.now().micros() + 10), &Toy { hops: toy.hops - 1, ..toy.clone() });
        }
        fx.emit(Toy { at: timer.due, id: format!("fired {}", fx.lineage()), ..toy.clone() });
        Ok(())
    }
}

inputs! {
    /// Inputs of the echo.
    pub(crate) enum EchoIn { Out(Toy) = "probe.v1", In(Toy) = "in.v1" }
}
outputs! {
    /// Outputs of the echo.
    pub(crate) enum EchoOut { Echo(ChildToy) = "echo.v1" }
}

/// Echoes what it reads.
pub(crate) struct Echo;

impl Stage for Echo {
    type In = EchoIn;
    type Out = EchoOut;
    type Stores = ();
    type Timer = Toy;
    const NAME: &'static str = "echo";
    const DOC: &'static str = "An echo.";

    fn on_record(&self, record: &Record<EchoIn>, _: &mut (), fx: &mut Effects<'_, Self>) -> Result<(), Poison> {
        let (EchoIn::Out(toy) | EchoIn::In(toy)) = &record.value;
        fx.emit(ChildToy(*toy.clone()));
        Ok(())
    }

    fn on_timer(&self, _: &Timer<Toy>, _: &mut (), _: &mut Effects<'_, Self>) -> Result<(), Poison> {
        Ok(())
    }
}
