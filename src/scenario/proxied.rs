//! The faults of a scenario for a proxy, which has neither clients nor a target of its own and runs until it is stopped.

use super::diagnostic::Sink;
use super::reader::Reader;
use super::trust::ScenarioTrust;
use super::{Errors, Source, faults, keys, read};
use crate::plan::{Embedded, Fault, Target};
use crate::secret::Secrets;

/// Reads the faults of a scenario; all else that is in it means nothing to a proxy.
///
/// # Errors
/// Everything that is wrong with them.
pub fn proxied_faults(source: &Source) -> Result<Vec<Fault>, Errors> {
    let sink = Sink::default();
    // A text comes over the network: it reads neither files nor variables of this machine.
    let trust = ScenarioTrust { untrusted: matches!(source, Source::Text { .. }), ..ScenarioTrust::default() };
    let variables = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty() && !trust.untrusted);
    let found = read(source, &trust, &variables, &sink).filter(|_| sink.is_empty()).map(|tree| {
        let Some(top) = Reader::open(&tree, &keys::TOP, &sink) else { return Vec::new() };
        // Of the sides of a proxy each can do what an embedded server, or our own clients, could.
        let target = Target::Embedded(Embedded::default());
        let context = faults::Context { target: Some(&target), model: None, cohorts: &[], run: None };
        faults::read(&top, &context, &mut Vec::new())
    });
    match found {
        Some(faults) if sink.is_empty() => Ok(faults),
        _ => Err(sink.into_errors(Secrets::default())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::Side;

    fn read(text: &str) -> Result<Vec<Fault>, String> {
        proxied_faults(&Source::Text { name: "faults".to_owned(), text: text.to_owned() }).map_err(|errors| errors.to_string())
    }

    #[test]
    fn a_direction_says_as_which_side_a_proxy_acts() {
        for (text, side) in [
            ("at='0s',inject={drop_rst={}}", Side::Server),
            ("at='0s',dir='up',inject={drop_rst={}}", Side::Client),
            ("at='0s',dir='down',inject={frame_rsv={}}", Side::Server),
            ("at='0s',side='client',inject={pong_drop={}}", Side::Client),
            ("at='0s',dir='up',inject={latency={}}", Side::Server),
            ("at='0s',every='1ms',inject={client_crash={}}", Side::Client),
        ] {
            let faults = read(&format!("faults=[{{{text}}}]")).unwrap_or_else(|errors| panic!("{text}: {errors}"));
            assert_eq!(faults[0].side, side, "{text}");
        }
        for (text, why) in [
            ("faults=[{at='0s',dir='down',inject={client_crash={}}}]", "cannot act in this direction"),
            ("faults=[{at='0s',dir='both',inject={drop_rst={}}}]", "has no direction"),
            ("faults=[{at='0s',select={cohort='x'},inject={drop_rst={}}}]", "no cohort"),
            ("faults=[{at='0s',inject={drop_rts={}}}]", "drop_rst"),
            ("faults=[{inject={drop_rst={}}}]", "needs `at`"),
        ] {
            let found = read(text).expect_err(text);
            assert!(found.contains(why), "{text}: {found}");
        }
    }
}
