//! One connection outside of any run that sends every message back: our client's side as a conformance suite drives it.
//!
//! It is the session of the simulated clients, without plan, faults and heartbeat; it measures nothing.

use crate::address::Address;
use crate::close::Ending;
use crate::fault::Side;
use crate::load::attempt;
use crate::seed::Seed;
use crate::sut::endpoint;
use crate::template::TemplateValues;
use crate::transport::tls::Trust;
use crate::ws::handshake::client::Request;
use crate::ws::session::mailbox::Control;
use crate::ws::session::{Session, SessionDeadlines, SessionEvent};
use std::borrow::Cow;
use std::time::Duration;
use tokio_tungstenite::tungstenite::Message;

/// The defaults of a cohort's deadlines.
const LIMITS: SessionDeadlines = SessionDeadlines { close: Duration::from_secs(10), fin: Duration::from_secs(2) };

/// It is no client's.
const NOBODY: TemplateValues<'_> = TemplateValues { client: Cow::Borrowed("0"), attempt: Cow::Borrowed("1"), own: None };

/// What came of a connection that sent everything back.
#[derive(Debug)]
pub struct Echoed {
    /// This side's account of how it ended.
    pub ending: Box<Ending>,
    /// Its last text message.
    pub text: Option<String>,
}

/// Opens a connection to `url` (ws:// or wss://), sends back text as text and binary as binary while it is open, and ends with it.
///
/// It waits for the server to close, without bound. Needs a tokio runtime with sockets and time.
///
/// # Errors
/// Why it did not open, in words.
pub async fn echo(url: &str) -> Result<Echoed, String> {
    let place = endpoint::resolve(Address::parse(url)?, Trust::Roots(None)).await.map_err(|error| error.to_string())?;
    let connection = attempt::open(&place, Request::new(&place.url, None, None, &NOBODY)).await?;
    let mut session = Session::new(Box::new(connection), Side::Client, LIMITS, None, (Seed(0), 0));
    let (control, mut text) = (Control::default(), None);
    loop {
        match session.next(&control, None).await {
            SessionEvent::Message(message) => {
                if let Message::Text(words) = &message {
                    text = Some(words.to_string());
                }
                if session.is_open() {
                    session.send(message);
                }
            }
            SessionEvent::Ended { ending, .. } => return Ok(Echoed { ending, text }),
            _ => {}
        }
    }
}
